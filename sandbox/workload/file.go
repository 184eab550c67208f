package workload

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// ReadFile reads Kubernetes manifests from a YAML file of one or more documents.
func ReadFile(path string) ([]runtime.Object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("workload: %w", err)
	}
	defer f.Close()
	objects, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("workload %s: %w", path, err)
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("workload %s holds no object: use --workload none for an empty cluster", path)
	}
	return objects, nil
}

func read(r io.Reader) ([]runtime.Object, error) {
	var objects []runtime.Object
	documents := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for number := 1; ; number++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		content := map[string]any{}
		if err := yaml.UnmarshalStrict(document, &content); err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		if len(content) == 0 {
			continue // only comments
		}
		u := &unstructured.Unstructured{Object: content}
		items := []unstructured.Unstructured{*u}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", number, err)
			}
			items = list.Items
		}
		for _, item := range items {
			if item.GetAPIVersion() == "" || item.GetKind() == "" || item.GetName() == "" {
				return nil, fmt.Errorf("document %d: apiVersion, kind and metadata.name are required", number)
			}
			objects = append(objects, &item)
		}
	}
}
