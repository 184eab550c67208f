package eks

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// family is a line of EKS' images whose releases are named alike.
type family int

const (
	familyUnknown      family = iota
	familyAmazonLinux         // releases 1.37.2-20261120: Kubernetes and a date
	familyBottlerocket        // releases 1.26.1-943d9a41: Bottlerocket's own version and commit
	familyWindows             // releases 1.37-2026.11.20: Kubernetes and a date
)

// amiType says where EKS publishes the releases of an AMI type: in public SSM
// parameters, as the EKS user guide lists them.
type amiType struct {
	family family
	folder string // of all releases; %s is the Kubernetes version
	newest string // below folder, of the recommended release
	image  string // what the names of its images begin with, where that names a folder of each release
}

var amiTypes = map[ekstypes.AMITypes]amiType{
	ekstypes.AMITypesAl2X8664:    amazonLinux2("", "amazon-eks-node"),
	ekstypes.AMITypesAl2X8664Gpu: amazonLinux2("-gpu", "amazon-eks-gpu-node"),
	ekstypes.AMITypesAl2Arm64:    amazonLinux2("-arm64", "amazon-eks-arm64-node"),

	ekstypes.AMITypesAl2023X8664Standard: amazonLinux2023("x86_64/standard"),
	ekstypes.AMITypesAl2023Arm64Standard: amazonLinux2023("arm64/standard"),
	ekstypes.AMITypesAl2023X8664Neuron:   amazonLinux2023("x86_64/neuron"),
	ekstypes.AMITypesAl2023X8664Nvidia:   amazonLinux2023("x86_64/nvidia"),
	ekstypes.AMITypesAl2023Arm64Nvidia:   amazonLinux2023("arm64/nvidia"),

	ekstypes.AMITypesBottlerocketX8664:           bottlerocket("", "x86_64"),
	ekstypes.AMITypesBottlerocketArm64:           bottlerocket("", "arm64"),
	ekstypes.AMITypesBottlerocketX8664Fips:       bottlerocket("-fips", "x86_64"),
	ekstypes.AMITypesBottlerocketArm64Fips:       bottlerocket("-fips", "arm64"),
	ekstypes.AMITypesBottlerocketX8664Nvidia:     bottlerocket("-nvidia", "x86_64"),
	ekstypes.AMITypesBottlerocketArm64Nvidia:     bottlerocket("-nvidia", "arm64"),
	ekstypes.AMITypesBottlerocketX8664NvidiaFips: bottlerocket("-nvidia-fips", "x86_64"),
	ekstypes.AMITypesBottlerocketArm64NvidiaFips: bottlerocket("-nvidia-fips", "arm64"),

	ekstypes.AMITypesWindowsCore2019X8664: windows("2019", "Core"),
	ekstypes.AMITypesWindowsFull2019X8664: windows("2019", "Full"),
	ekstypes.AMITypesWindowsCore2022X8664: windows("2022", "Core"),
	ekstypes.AMITypesWindowsFull2022X8664: windows("2022", "Full"),
	ekstypes.AMITypesWindowsCore2025X8664: windows("2025", "Core"),
	ekstypes.AMITypesWindowsFull2025X8664: windows("2025", "Full"),
}

func amazonLinux2(variant, image string) amiType {
	return amiType{familyAmazonLinux, "/aws/service/eks/optimized-ami/%s/amazon-linux-2" + variant + "/", "recommended/", image}
}

func amazonLinux2023(variant string) amiType {
	return amiType{
		familyAmazonLinux, "/aws/service/eks/optimized-ami/%s/amazon-linux-2023/" + variant + "/", "recommended/",
		"amazon-eks-node-al2023-" + strings.Replace(variant, "/", "-", 1),
	}
}

func bottlerocket(variant, arch string) amiType {
	return amiType{familyBottlerocket, "/aws/service/bottlerocket/aws-k8s-%s" + variant + "/" + arch + "/", "latest/", ""}
}

func windows(year, edition string) amiType {
	return amiType{familyWindows, "/aws/service/ami-windows-latest/Windows_Server-" + year + "-English-" + edition + "-EKS_Optimized-%s/", "", ""}
}

// imageParameter names the parameter whose value is the recommended image's id.
func (t amiType) imageParameter(kubernetes string) string {
	return fmt.Sprintf(t.folder, kubernetes) + t.newest + "image_id"
}

// releaseParameter names the parameter whose value is the recommended release.
func (t amiType) releaseParameter(kubernetes string) string {
	leaf := "release_version"
	if t.family == familyBottlerocket {
		leaf = "image_version"
	}
	return fmt.Sprintf(t.folder, kubernetes) + t.newest + leaf
}

// namedImageParameter names the parameter whose value is the image of one
// release; empty: AWS publishes the newest alone.
func (t amiType) namedImageParameter(r release) string {
	switch {
	case r.kubernetes == "" || r.serial == "":
		return ""
	case t.family == familyAmazonLinux:
		return fmt.Sprintf(t.folder, r.kubernetes) + t.image + "-" + r.kubernetes + "-v" + r.serial + "/image_id"
	case t.family == familyBottlerocket:
		version, _, _ := strings.Cut(r.serial, "-")
		return fmt.Sprintf(t.folder, r.kubernetes) + version + "/image_id"
	}
	return ""
}

// notes is where the releases of a family are described.
func (f family) notes(serial string) string {
	switch f {
	case familyAmazonLinux:
		if len(serial) == len("20261120") {
			return "https://github.com/awslabs/amazon-eks-ami/releases/tag/v" + serial
		}
	case familyBottlerocket:
		version, _, _ := strings.Cut(serial, "-")
		return "https://github.com/bottlerocket-os/bottlerocket/releases/tag/v" + version
	case familyWindows:
		return "https://docs.aws.amazon.com/eks/latest/userguide/eks-ami-versions-windows.html"
	case familyUnknown:
	}
	return ""
}

// release is a release of EKS' images, taken apart so that it can be compared.
type release struct {
	family family
	// kubernetes is MAJOR.MINOR; empty: the name does not say.
	kubernetes string
	// serial orders the releases of one Kubernetes version: a date, or the version
	// and commit of Bottlerocket.
	serial string
}

var (
	amazonLinuxRelease  = regexp.MustCompile(`^(\d+\.\d+)\.\d+-(\d{8})$`)
	bottlerocketRelease = regexp.MustCompile(`^\d+\.\d+\.\d+-[0-9a-f]{8}$`)
	windowsRelease      = regexp.MustCompile(`^(\d+\.\d+)-(\d{4}\.\d{2}\.\d{2})$`)

	amazonLinuxImage  = regexp.MustCompile(`^(amazon-eks-(?:[a-z0-9]+-)?node-(?:al2023-(?:x86_64|arm64)-[a-z]+-)?)(\d+\.\d+)-v(\d{8})$`)
	bottlerocketImage = regexp.MustCompile(`^(bottlerocket-aws-k8s-)(\d+\.\d+)((?:-nvidia)?(?:-fips)?-(?:x86_64|arm64|aarch64))-v(\d+\.\d+\.\d+-[0-9a-f]{8})$`)
	windowsImage      = regexp.MustCompile(`^(Windows_Server-(\d{4})-English-(Core|Full)-EKS_Optimized-)(\d+\.\d+)-(\d{4}\.\d{2}\.\d{2})$`)
)

// parse reads a release version of the family, as EKS spells it.
func (f family) parse(version string) (release, bool) {
	r := release{family: f}
	switch f {
	case familyAmazonLinux:
		if m := amazonLinuxRelease.FindStringSubmatch(version); m != nil {
			r.kubernetes, r.serial = m[1], m[2]
		}
	case familyBottlerocket:
		if bottlerocketRelease.MatchString(version) {
			r.serial = version
		}
	case familyWindows:
		if m := windowsRelease.FindStringSubmatch(version); m != nil {
			r.kubernetes, r.serial = m[1], m[2]
		}
	case familyUnknown:
	}
	return r, r.serial != ""
}

// parseImage reads the name of one of EKS' images. Type is the AMI type that the
// image is of.
func parseImage(name string) (r release, t amiType, ok bool) {
	if m := amazonLinuxImage.FindStringSubmatch(name); m != nil {
		r = release{familyAmazonLinux, m[2], m[3]}
		prefix := strings.TrimSuffix(m[1], "-")
		switch variant, is2023 := strings.CutPrefix(prefix, "amazon-eks-node-al2023-"); {
		case is2023:
			return r, amazonLinux2023(strings.Replace(variant, "-", "/", 1)), true
		case prefix == "amazon-eks-node":
			return r, amazonLinux2("", "amazon-eks-node"), true
		case prefix == "amazon-eks-gpu-node":
			return r, amazonLinux2("-gpu", "amazon-eks-gpu-node"), true
		case prefix == "amazon-eks-arm64-node":
			return r, amazonLinux2("-arm64", "amazon-eks-arm64-node"), true
		}
		return release{}, amiType{}, false
	}
	if m := bottlerocketImage.FindStringSubmatch(name); m != nil {
		i := strings.LastIndexByte(m[3], '-')
		arch := strings.Replace(m[3][i+1:], "aarch64", "arm64", 1)
		return release{familyBottlerocket, m[2], m[4]}, bottlerocket(m[3][:i], arch), true
	}
	if m := windowsImage.FindStringSubmatch(name); m != nil {
		return release{familyWindows, m[4], m[5]}, windows(m[2], m[3]), true
	}
	return release{}, amiType{}, false
}

// compare orders two releases as cmp.Compare does. Releases of different
// families, and those whose names say too little, cannot be compared.
func (r release) compare(o release) (order int, ok bool) {
	if r.family != o.family || r.serial == "" || o.serial == "" {
		return 0, false
	}
	if r.kubernetes != "" && o.kubernetes != "" && r.kubernetes != o.kubernetes {
		return compareVersions(r.kubernetes, o.kubernetes), true
	}
	if r.family == familyBottlerocket {
		a, _, _ := strings.Cut(r.serial, "-")
		b, _, _ := strings.Cut(o.serial, "-")
		if order := compareVersions(a, b); order != 0 || r.serial == o.serial {
			return order, true
		}
		return 0, false // the same version of another commit
	}
	return strings.Compare(r.serial, o.serial), true
}

// compareVersions orders dotted numbers. A part that is missing counts as 0.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if order := cmp.Compare(part(as, i), part(bs, i)); order != 0 {
			return order
		}
	}
	return 0
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i]) // what is no number counts as 0
	return n
}

// minorsBehind is how many minor versions of Kubernetes a is behind b, which is
// of the same major version; negative: ahead.
func minorsBehind(a, b string) int {
	return part(strings.Split(b, "."), 1) - part(strings.Split(a, "."), 1)
}
