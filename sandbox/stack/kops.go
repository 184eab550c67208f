package stack

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/cloudnode"
	"github.com/rotatord/rotator/sandbox/control"
	"github.com/rotatord/rotator/sandbox/kops"
)

// A provider is how the cluster got its machines.
type provider interface {
	// seed makes the account's first image and the cluster's groups.
	seed(cloud *aws.Cloud) error
	// profile says as what a machine joins the cluster.
	profile(aws.Machine) (p cloudnode.Profile, joins bool)
	// nodes is how many nodes the cluster has.
	nodes() int
}

// kopsProvider is a cluster of kops.
type kopsProvider struct {
	cluster *kops.Cluster
	// balanced is for how long targets of the API server's load balancer drain; nil: it has none.
	balanced *time.Duration
	image    string
	store    *kops.Store // from when the way to the API server is known
	// artifacts is where kops finds the hashes of what nodes download; it would ask the network.
	artifacts string
}

func newKopsProvider(o Options) *kopsProvider {
	p := &kopsProvider{cluster: kops.NewCluster(o.Cluster, o.Region, zones(o.Region, o.Zones), !o.NoBastion, o.Nodes, o.Groups, instanceType)}
	if o.TargetGroup {
		p.balanced = &o.DeregistrationDelay
	}
	return p
}

func (p *kopsProvider) profile(m aws.Machine) (cloudnode.Profile, bool) { return kops.Profile(m) }

func (p *kopsProvider) nodes() int { return p.cluster.Nodes() }

func (p *kopsProvider) seed(cloud *aws.Cloud) error {
	p.image = cloud.CreateImage(aws.ImageSpec{Name: "sandbox-node-1.37-v1"})
	cloud.PutParameter(ImageParameter, p.image)
	if p.balanced != nil {
		if err := p.cluster.Balance(cloud, *p.balanced); err != nil {
			return err
		}
	}
	if err := p.cluster.Seed(cloud, p.image); err != nil {
		return err
	}
	return addGroup(cloud, "other", 1, 1, p.image, false, nil) // another cluster's, in the same account
}

// controlPlane says that a machine carries the control plane.
func (p *kopsProvider) controlPlane(m aws.Machine) bool { return kops.IsControlPlane(m) }

// writeStore makes the state store once it is known where the API server is.
func (p *kopsProvider) writeStore(dir, address string, caCert, caKey []byte) (err error) {
	p.store, err = kops.WriteStore(filepath.Join(dir, "state"), p.cluster, p.image, kops.Access{Address: address, CACert: caCert, CAKey: caKey}, time.Now())
	if err != nil {
		return err
	}
	p.artifacts, err = kops.WriteArtifacts(filepath.Join(dir, "artifacts"))
	return err
}

// environment is what kops itself reads.
func (p *kopsProvider) environment() []string {
	return []string{"KOPS_STATE_STORE=" + p.store.URL(), "KOPS_CLUSTER_NAME=" + p.cluster.Name, "KOPS_BASE_URL=" + p.artifacts}
}

// kopsPublisher lets the state store name each image that is published, so that it says what the account holds, as
// after `kops edit instancegroup` and `kops update cluster --yes`.
type kopsPublisher struct {
	control.Backend
	store *kops.Store
}

// PublishImage implements control.Backend.
func (p kopsPublisher) PublishImage(ctx context.Context, r control.PublishImageRequest) (control.PublishedImage, error) {
	out, err := p.Backend.PublishImage(ctx, r)
	if err != nil {
		return out, err
	}
	for _, g := range out.Groups {
		if err := p.store.SetImage(g.Name, out.ImageID); err != nil {
			return out, fmt.Errorf("image %s is published, and the state store does not name it: %w", out.ImageID, err)
		}
	}
	return out, nil
}
