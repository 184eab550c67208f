package kops

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

// A Store is kops' state store in a local folder (file://).
type Store struct {
	dir     string
	cluster *Cluster
}

// Access is what the state store says of the way to the API server.
type Access struct {
	// Address is its host:port.
	Address string
	// CACert and CAKey are the cluster's certificate authority, PEM, with which kops makes client certificates of its own.
	CACert, CAKey []byte
}

// kubernetesVersion is the newest that this kops knows. The sandbox's control plane is a minor version ahead of it,
// which nothing here reads.
const kubernetesVersion = "1.36.0"

// apiVersion is that of all objects in a state store.
const apiVersion = "kops.k8s.io/v1alpha2"

// object is an object as the store's YAML holds it.
type object = map[string]any

// WriteStore makes the state store of a cluster whose instance groups all have the image.
func WriteStore(dir string, c *Cluster, image string, access Access, now time.Time) (*Store, error) {
	s := &Store{dir: dir, cluster: c}
	created := now.UTC().Format(time.RFC3339)
	keyset, err := c.keyset(access)
	if err != nil {
		return nil, fmt.Errorf("certificate authority of cluster %s: %w", c.Name, err)
	}
	files := map[string]any{
		"config": c.object(created, s.base(), access), "pki/private/kubernetes-ca/keyset.yaml": keyset,
	}
	for _, g := range c.Groups {
		files["instancegroup/"+g.Name] = g.object(created, c.Name, image)
	}
	for name, o := range files {
		if err := s.write(name, o); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(s.file("kops-version.txt"), []byte(Version), 0o600); err != nil {
		return nil, fmt.Errorf("state store of cluster %s: %w", c.Name, err)
	}
	return s, nil
}

// URL is what KOPS_STATE_STORE names.
func (s *Store) URL() string { return "file://" + s.dir }

func (s *Store) base() string { return s.URL() + "/" + s.cluster.Name }

func (s *Store) file(name string) string {
	return filepath.Join(s.dir, s.cluster.Name, filepath.FromSlash(name))
}

func (s *Store) write(name string, o any) error {
	b, err := yaml.Marshal(o)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.file(name)), 0o700)
	}
	if err == nil {
		err = os.WriteFile(s.file(name), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("state store of cluster %s: %s: %w", s.cluster.Name, name, err)
	}
	return nil
}

// SetImage changes the image of the instance group behind an Auto Scaling group, as `kops edit instancegroup` would;
// all else in its file stays. A group of another cluster is left alone.
func (s *Store) SetImage(autoScalingGroup, image string) error {
	g, ours := s.cluster.group(autoScalingGroup)
	if !ours {
		return nil
	}
	name := "instancegroup/" + g.Name
	b, err := os.ReadFile(s.file(name))
	if err != nil {
		return fmt.Errorf("state store of cluster %s: %w", s.cluster.Name, err)
	}
	o := object{}
	if err := yaml.Unmarshal(b, &o); err != nil {
		return fmt.Errorf("state store of cluster %s: %s: %w", s.cluster.Name, name, err)
	}
	spec, ok := o["spec"].(object)
	if !ok {
		return fmt.Errorf("state store of cluster %s: %s has no spec", s.cluster.Name, name)
	}
	spec["image"] = image
	return s.write(name, o)
}

// object is the cluster's specification: no more of it than makes it valid, as `kops create cluster` writes it.
func (c *Cluster) object(created, base string, access Access) object {
	var members []object
	for _, g := range c.Groups {
		if g.Role == RoleControlPlane {
			members = append(members, object{"instanceGroup": g.Name, "name": g.Zones[0][len(g.Zones[0])-1:], "encryptedVolume": true})
		}
	}
	var subnets []object
	for _, z := range c.Zones {
		subnets = append(subnets, object{"name": z, "zone": z, "type": "Public", "id": c.Subnets[z]})
	}
	return object{
		"apiVersion": apiVersion, "kind": "Cluster",
		"metadata": object{"name": c.Name, "creationTimestamp": created},
		"spec": object{
			"api": object{"dns": object{}}, "masterPublicName": access.Address,
			"authorization": object{"rbac": object{}}, "channel": "none", "cloudProvider": "aws",
			// Its queue and its rules of EventBridge are not simulated.
			"nodeTerminationHandler": object{"enabled": false}, "configBase": base,
			"etcdClusters": []object{
				{"name": "main", "etcdMembers": members}, {"name": "events", "etcdMembers": members},
			},
			"iam": object{"allowContainerRegistry": true, "legacy": false}, "kubelet": object{"anonymousAuth": false},
			"kubernetesApiAccess": []string{"127.0.0.0/8"}, "kubernetesVersion": kubernetesVersion,
			"networkCIDR": "10.0.0.0/16", "networkID": c.Network, "networking": object{"cni": object{}},
			"nonMasqueradeCIDR": "100.64.0.0/10", "sshAccess": []string{"127.0.0.0/8"}, "subnets": subnets,
			"topology": object{"dns": object{"type": "None"}},
		},
	}
}

func (g InstanceGroup) object(created, cluster, image string) object {
	spec := object{
		"image": image, "machineType": g.MachineType, "minSize": g.Size, "maxSize": g.Size, "role": string(g.Role), "subnets": g.Zones,
	}
	if g.TargetGroup != "" {
		spec["externalLoadBalancers"] = []object{{"targetGroupArn": g.TargetGroup}}
	}
	return object{
		"apiVersion": apiVersion, "kind": "InstanceGroup",
		"metadata": object{"name": g.Name, "creationTimestamp": created, "labels": object{"kops.k8s.io/cluster": cluster}}, "spec": spec,
	}
}

// keyset is the certificate authority as kops keeps it.
func (c *Cluster) keyset(access Access) (object, error) {
	block, _ := pem.Decode(access.CACert)
	if block == nil {
		return nil, errors.New("the certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	id := cert.SerialNumber.String()
	return object{
		"apiVersion": apiVersion, "kind": "Keyset", "metadata": object{"name": "kubernetes-ca"},
		"spec": object{
			"type": "Keypair", "primaryId": id,
			"keys": []object{{"id": id, "publicMaterial": access.CACert, "privateMaterial": access.CAKey}},
		},
	}, nil
}
