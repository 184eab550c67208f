package aws

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// amiType is one of EKS' node images, an AMITypes value of its API.
type amiType struct {
	name, architecture string
	// parameters is the folder of its public SSM parameters; %s is the Kubernetes version.
	parameters string
	// bottlerocket releases are named VERSION-COMMIT and have parameters of their own shape.
	bottlerocket bool
	// image is the name of an image: %[1]s the Kubernetes version, %[2]s what the release is called in it.
	image string
}

// amiTypes are the Linux images that EKS builds for Kubernetes 1.33 and later (AL2 ended with 1.32). The parameters are
// those of the EKS user guide, "Retrieve recommended Amazon Linux AMI IDs" and "… Bottlerocket AMI IDs".
var amiTypes = []amiType{
	al2023("AL2023_x86_64_STANDARD", "x86_64", "standard"),
	al2023("AL2023_ARM_64_STANDARD", "arm64", "standard"),
	al2023("AL2023_x86_64_NVIDIA", "x86_64", "nvidia"),
	al2023("AL2023_ARM_64_NVIDIA", "arm64", "nvidia"),
	al2023("AL2023_x86_64_NEURON", "x86_64", "neuron"),
	bottlerocket("BOTTLEROCKET_x86_64", "x86_64", ""),
	bottlerocket("BOTTLEROCKET_ARM_64", "arm64", ""),
	bottlerocket("BOTTLEROCKET_x86_64_NVIDIA", "x86_64", "-nvidia"),
	bottlerocket("BOTTLEROCKET_ARM_64_NVIDIA", "arm64", "-nvidia"),
	bottlerocket("BOTTLEROCKET_x86_64_FIPS", "x86_64", "-fips"),
	bottlerocket("BOTTLEROCKET_ARM_64_FIPS", "arm64", "-fips"),
}

func al2023(name, arch, variant string) amiType {
	return amiType{
		name: name, architecture: arch, parameters: "/aws/service/eks/optimized-ami/%s/amazon-linux-2023/" + arch + "/" + variant,
		image: "amazon-eks-node-al2023-" + arch + "-" + variant + "-%[1]s-v%[2]s",
	}
}

func bottlerocket(name, arch, variant string) amiType {
	return amiType{
		name: name, architecture: arch, bottlerocket: true, parameters: "/aws/service/bottlerocket/aws-k8s-%s" + variant + "/" + arch,
		image: "bottlerocket-aws-k8s-%[1]s" + variant + "-" + arch + "-v%[2]s",
	}
}

// amiTypeCustom is the type of node groups whose launch template names the image.
const amiTypeCustom = "CUSTOM"

// AMITypes are the AMI types of which a release can be published.
func AMITypes() []string {
	var out []string
	for _, t := range amiTypes {
		out = append(out, t.name)
	}
	return out
}

func findAMIType(name string) (amiType, bool) {
	i := slices.IndexFunc(amiTypes, func(t amiType) bool { return t.name == name })
	if i < 0 {
		return amiType{}, false
	}
	return amiTypes[i], true
}

// release is one release of an AMI type for a Kubernetes version.
type release struct {
	amiType, kubernetes, version string
	kubelet                      string // the Kubernetes patch version in it
	image                        string
	number                       int // rises with each release of its type and Kubernetes version
}

// releaseKey is what releases succeed each other in.
type releaseKey struct{ amiType, kubernetes string }

// ReleaseSpec is a release of EKS' node images to be.
type ReleaseSpec struct {
	// AMIType defaults to all of [AMITypes].
	AMIType string
	// Kubernetes is the version with its patch, for instance 1.37.2.
	Kubernetes string
	// Date is when the images were made; it is in the releases' names. Default: now.
	Date time.Time
}

// Release is a release of a node image.
type Release struct {
	AMIType, Kubernetes, Version, ImageID, ImageName, Parameter string
}

// KubernetesVersion is the version that the sandbox's control plane is, and that kubelets are unless their image says
// otherwise.
const KubernetesVersion = "1.37.2"

// AddReleases makes new images and lets EKS recommend them: the SSM parameters name them, and an update of a node
// group without a release version takes them. Nothing that runs changes.
func (c *Cloud) AddReleases(s ReleaseSpec) ([]Release, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := strings.Split(s.Kubernetes, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("publish a release for Kubernetes %q: give the version with its patch, for instance 1.37.2", s.Kubernetes)
	}
	types := amiTypes
	if s.AMIType != "" {
		t, ok := findAMIType(s.AMIType)
		if !ok {
			return nil, fmt.Errorf("publish a release of AMI type %q: choose one of %s", s.AMIType, strings.Join(AMITypes(), ", "))
		}
		types = []amiType{t}
	}
	if s.Date.IsZero() {
		s.Date = c.now()
	}
	var out []Release
	for _, t := range types {
		out = append(out, c.addRelease(t, strings.Join(parts[:2], "."), s.Kubernetes, s.Date))
	}
	return out, nil
}

func (c *Cloud) addRelease(t amiType, kubernetes, kubelet string, date time.Time) Release {
	key := releaseKey{t.name, kubernetes}
	list := c.releases[key]
	// Two releases of one day have different names here, as they do in EKS, where the second waits for the next day.
	for slices.ContainsFunc(list, func(r *release) bool { return r.version == releaseVersion(t, kubelet, date) }) {
		date = date.AddDate(0, 0, 1)
	}
	r := &release{amiType: t.name, kubernetes: kubernetes, kubelet: kubelet, version: releaseVersion(t, kubelet, date), number: len(list) + 1}
	called := date.UTC().Format("20060102")
	if t.bottlerocket {
		called = r.version
	}
	img := c.createImage(ImageSpec{Name: fmt.Sprintf(t.image, kubernetes, called), Architecture: t.architecture, CreationDate: c.now()})
	img.kubernetes = kubelet
	r.image = img.id
	c.releases[key] = append(list, r)
	folder := fmt.Sprintf(t.parameters, kubernetes)
	out := Release{AMIType: t.name, Kubernetes: kubernetes, Version: r.version, ImageID: img.id, ImageName: img.name}
	own, recommended := img.name, "recommended"
	values := map[string]string{"image_id": img.id, "image_name": img.name, "release_version": r.version}
	if t.bottlerocket {
		own, recommended = strings.SplitN(r.version, "-", 2)[0], "latest"
		values = map[string]string{"image_id": img.id, "image_version": r.version}
	}
	out.Parameter = folder + "/" + recommended + "/image_id"
	for _, leaf := range slices.Sorted(maps.Keys(values)) {
		c.putParameter(folder+"/"+own+"/"+leaf, values[leaf])
		c.putParameter(folder+"/"+recommended+"/"+leaf, values[leaf])
	}
	if !t.bottlerocket {
		values["schema_version"] = "2"
		b, err := json.Marshal(values)
		if err != nil {
			panic(err) // strings always marshal
		}
		c.putParameter(folder+"/"+recommended, string(b))
	}
	return out
}

// releaseVersion names a release: 1.37.2-20261120, or for Bottlerocket a version that rises with the day and a commit.
func releaseVersion(t amiType, kubelet string, date time.Time) string {
	date = date.UTC()
	if !t.bottlerocket {
		return kubelet + "-" + date.Format("20060102")
	}
	return fmt.Sprintf("1.%d.%d-%08x", date.Year()-2000, date.YearDay(), uint32(date.YearDay())*2654435761)
}

// recommended is the newest release; nil where there is none.
func (c *Cloud) recommended(amiType, kubernetes string) *release {
	list := c.releases[releaseKey{amiType, kubernetes}]
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// findRelease looks a release up by its version; "" is the recommended one.
func (c *Cloud) findRelease(amiType, kubernetes, version string) *release {
	if version == "" {
		return c.recommended(amiType, kubernetes)
	}
	for _, r := range c.releases[releaseKey{amiType, kubernetes}] {
		if r.version == version {
			return r
		}
	}
	return nil
}

// compareKubernetes orders versions like 1.9 and 1.37.
func compareKubernetes(a, b string) int {
	minor := func(v string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(v, "1."))
		return n
	}
	return cmp.Compare(minor(a), minor(b))
}
