package kube

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/rotatord/rotator/core/engine"
)

// everything is what a rotation that uses all there is needs.
var everything = Needs{Volumes: true, Autoscalers: true, MoveWorkloads: true, DeletePods: true, DeleteNodes: true, Namespace: "rotator-system", Journal: true}

// The manifest that people apply grants what a rotation asks about, all of it
// and nothing else.
func TestManifestGrantsWhatIsNeeded(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "deploy", "kubernetes", "rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var granted []string
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var o struct {
			Kind     string
			Metadata struct{ Namespace string }
			Rules    []struct {
				APIGroups []string `json:"apiGroups"`
				Resources []string
				Verbs     []string
			}
		}
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, r := range o.Rules {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					for _, verb := range r.Verbs {
						name, sub, _ := strings.Cut(resource, "/")
						granted = append(granted, Permission{verb, group, name, sub, o.Metadata.Namespace}.String())
					}
				}
			}
		}
	}
	var needed []string
	for _, p := range everything.Permissions() {
		needed = append(needed, p.String())
	}
	slices.Sort(granted)
	slices.Sort(needed)
	if d := cmp.Diff(needed, granted); d != "" {
		t.Errorf("deploy/kubernetes/rbac.yaml does not grant what is needed (-needed +granted):\n%s", d)
	}
}

func TestMissing(t *testing.T) {
	deny := map[string]bool{}
	status := http.StatusCreated
	f := newFakeAPI(t)
	f.answer = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if !strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") {
			return false
		}
		obj, _, err := codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			t.Error(err)
			return false
		}
		q := obj.(*authorizationv1.SelfSubjectAccessReview)
		a := q.Spec.ResourceAttributes
		q.Status.Allowed = !deny[Permission{a.Verb, a.Group, a.Resource, a.Subresource, a.Namespace}.String()]
		q.APIVersion, q.Kind = "authorization.k8s.io/v1", "SelfSubjectAccessReview"
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(q); err != nil {
			t.Error(err)
		}
		return true
	}
	c := f.cluster()
	ask := func() (names []string) {
		t.Helper()
		missing, err := c.Missing(t.Context(), everything.Permissions())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range missing {
			names = append(names, p.String())
		}
		return names
	}
	if got := ask(); len(got) != 0 {
		t.Errorf("with all permissions, missing: %v", got)
	}
	want := []string{"patch nodes", "create pods/eviction", "update leases.coordination.k8s.io in namespace rotator-system",
		"deletecollection configmaps in namespace rotator-system"}
	for _, p := range want {
		deny[p] = true
	}
	if d := cmp.Diff(want, ask()); d != "" {
		t.Error(d)
	}
	// An API server that does not answer says nothing about permissions.
	status = http.StatusInternalServerError
	var e *engine.Error
	if _, err := c.Missing(t.Context(), everything.Permissions()[:1]); !errors.As(err, &e) || e.Code != engine.ErrTransient {
		t.Errorf("an answer that is none: %v", err)
	}
}

// What a rotation does not need is not asked for.
func TestNeeds(t *testing.T) {
	for _, p := range (Needs{Namespace: "n"}).Permissions() {
		switch {
		case p.Resource == "persistentvolumeclaims", p.Resource == "volumeattachments", p.Resource == "horizontalpodautoscalers",
			p.Verb == "delete", p.Verb == "patch" && p.Resource == "deployments", p.Resource == "configmaps":
			t.Errorf("%s is asked for without a need", p)
		}
	}
}
