package kops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/blang/semver/v4"
	"google.golang.org/grpc/codes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kopsbase "k8s.io/kops"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/apis/kops/registry"
	"k8s.io/kops/pkg/client/simple"
	"k8s.io/kops/pkg/client/simple/vfsclientset"
	"k8s.io/kops/util/pkg/vfs"

	"github.com/rotatord/rotator/drivers/sdk"
)

// specAge is how long an Observe that accepts old answers may rely on the
// cluster's specification: people change it, rotations do not.
const specAge = time.Minute

// store is a kops state store.
type store struct {
	url    string
	base   vfs.Path
	client simple.Clientset
	calls  *callers
}

// openStore makes a client of the state store and looks whether it is there.
func openStore(ctx context.Context, url string, calls *callers) (*store, *sdk.Diagnostic) {
	refuse := func(code, detail string, err error) *sdk.Diagnostic {
		diag := finding(sdk.SeverityError, code, url, detail, "the kops state store %s cannot be read: %s", url, cause(err))
		return &diag
	}
	base, err := vfs.Context.BuildVfsPath(url)
	if err != nil {
		return nil, refuse("state-store-invalid", "Give a URL such as s3://bucket in KOPS_STATE_STORE or driver.config.state.", err)
	}
	_, err = call(ctx, calls, "reading the state store", base.ReadDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse("state-store-missing", "Check KOPS_STATE_STORE or driver.config.state.", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, refuse("state-store-denied", "Let this user read and write the state store.", err)
	case err != nil:
		return nil, refuse("state-store-unreadable", "Check KOPS_STATE_STORE or driver.config.state, and the credentials: kops get clusters must work with the same.", err)
	}
	return &store{url: url, base: base, client: vfsclientset.NewVFSClientset(vfs.Context, base), calls: calls}, nil
}

// spec is what the state store says about a cluster.
type spec struct {
	cluster *kopsapi.Cluster
	groups  []*kopsapi.InstanceGroup // sorted by name
	// version is the kops that last applied the cluster (kops-version.txt); empty:
	// it was never applied, or by a kops that did not write it.
	version string
	// base is the cluster's folder.
	base vfs.Path
	at   time.Time
}

func (s *spec) group(name string) *kopsapi.InstanceGroup {
	for _, g := range s.groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// load reads a cluster's specification. A cluster that is not there is
// NOT_FOUND, with the names that come nearest.
func (s *store) load(ctx context.Context, name string) (*spec, error) {
	return call(ctx, s.calls, "reading the state store", func() (*spec, error) {
		ctx := context.WithoutCancel(ctx) // call answers for the deadline
		// Read before it is decoded, so that what is not there is told from what
		// cannot be decoded.
		data, err := s.base.Join(name, registry.PathCluster).ReadFile(ctx)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, s.missing(ctx, name)
		}
		if err != nil {
			return nil, statusOf("reading the state store", s.url, err)
		}
		out := &spec{base: s.base.Join(name)}
		if version, err := out.base.Join(registry.PathKopsVersionUpdated).ReadFile(ctx); err == nil {
			out.version = strings.TrimSpace(string(version))
		}
		cluster, err := guard(func() (*kopsapi.Cluster, error) { return s.client.GetCluster(ctx, name) })
		if err != nil {
			return nil, s.undecodable(name, data, out.version, err)
		}
		out.cluster = cluster
		list, err := guard(func() (*kopsapi.InstanceGroupList, error) {
			return s.client.InstanceGroupsFor(cluster).List(ctx, metav1.ListOptions{})
		})
		if err != nil {
			return nil, s.undecodable(name, data, out.version, err)
		}
		for i := range list.Items {
			out.groups = append(out.groups, &list.Items[i])
		}
		slices.SortFunc(out.groups, func(a, b *kopsapi.InstanceGroup) int { return cmp.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// missing explains that there is no such cluster.
func (s *store) missing(ctx context.Context, name string) error {
	paths, err := s.base.ReadTree(ctx)
	if err != nil {
		return statusOf("listing the clusters of the state store", s.url, err)
	}
	var names []string
	for _, p := range paths {
		if rel, err := vfs.RelativePath(s.base, p); err == nil {
			if cluster, ok := strings.CutSuffix(rel, "/"+registry.PathCluster); ok {
				names = append(names, cluster)
			}
		}
	}
	if len(names) == 0 {
		return sdk.Errorf(codes.NotFound, "state-store-empty: the kops state store %s holds no cluster: check KOPS_STATE_STORE or driver.config.state", s.url)
	}
	return sdk.Errorf(codes.NotFound, "cluster-not-found: the kops state store %s has no cluster %s; the nearest of its %d: %s", s.url, name, len(names), strings.Join(nearest(name, names), ", "))
}

// undecodable explains a specification that this library cannot read.
func (s *store) undecodable(name string, data []byte, version string, err error) error {
	switch {
	case newerThanLibrary(version):
		return sdk.Errorf(codes.FailedPrecondition, "kops-newer: cluster %s was last applied by kops %s, and this driver is made for kops %s: use a newer rotator. The library says: %s", name, version, kopsbase.Version, cause(err))
	case encrypted(data):
		return sdk.Errorf(codes.FailedPrecondition, "state-store-encrypted: the specification of cluster %s in %s is encrypted or is no text: give the place where kops reads it in clear", name, s.url)
	}
	return sdk.Errorf(codes.FailedPrecondition, "cluster-undecodable: the specification of cluster %s in %s cannot be read by kops %s: %s", name, s.url, kopsbase.Version, cause(err))
}

// encrypted tells whether data is not the YAML text that kops writes: other
// bytes than text, or the mark that sops leaves.
func encrypted(data []byte) bool {
	text := string(data)
	return strings.ContainsFunc(text, func(r rune) bool { return r == 0 || r == '\uFFFD' }) ||
		strings.Contains(text, "\nsops:") || strings.HasPrefix(text, "$ANSIBLE_VAULT") || strings.HasPrefix(text, "-----BEGIN PGP MESSAGE")
}

// newerThanLibrary compares minor versions: kops keeps what it writes readable
// within one.
func newerThanLibrary(version string) bool {
	v, err1 := semver.ParseTolerant(version)
	lib, err2 := semver.ParseTolerant(kopsbase.Version)
	return err1 == nil && err2 == nil && (v.Major > lib.Major || v.Major == lib.Major && v.Minor > lib.Minor)
}

// nearest returns up to three names, those with the fewest changes first.
func nearest(name string, names []string) []string {
	sorted := slices.Clone(names)
	slices.SortFunc(sorted, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(name, a), distance(name, b)), cmp.Compare(a, b))
	})
	return sorted[:min(3, len(sorted))]
}

// distance counts the characters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// String names the store for messages.
func (s *store) String() string { return fmt.Sprintf("kops state store %s", s.url) }
