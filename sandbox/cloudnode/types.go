package cloudnode

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// size is what a machine of an instance type brings.
type size struct {
	cpu    int64 // vCPUs
	memory int64 // GiB
}

// sizes are the instance types that sandboxes and tests use; any other counts
// as defaultSize, because the rotation of a node does not depend on it.
var sizes = map[string]size{
	"m5.large": {2, 8}, "m5.xlarge": {4, 16}, "m5.2xlarge": {8, 32}, "m5.4xlarge": {16, 64},
	"m6i.large": {2, 8}, "m6i.xlarge": {4, 16}, "m6i.2xlarge": {8, 32}, "m6i.4xlarge": {16, 64},
	"m6a.large": {2, 8}, "m6a.xlarge": {4, 16}, "m6a.2xlarge": {8, 32},
	"m7i.large": {2, 8}, "m7i.xlarge": {4, 16}, "m7i.2xlarge": {8, 32},
	"c5.large": {2, 4}, "c5.xlarge": {4, 8}, "c5.2xlarge": {8, 16},
	"c6i.large": {2, 4}, "c6i.xlarge": {4, 8}, "c6i.2xlarge": {8, 16},
	"r5.large": {2, 16}, "r5.xlarge": {4, 32}, "r5.2xlarge": {8, 64},
	"t3.medium": {2, 4}, "t3.large": {2, 8}, "t3.xlarge": {4, 16}, "t3.2xlarge": {8, 32},
}

var defaultSize = size{4, 16}

// maxPods is what EKS sets on nodes with prefix delegation.
const maxPods = 110

// Capacity returns what a node of an instance type has, and what is left of it
// for pods after the system's reservation.
func Capacity(instanceType string) (capacity, allocatable corev1.ResourceList) {
	s, ok := sizes[instanceType]
	if !ok {
		s = defaultSize
	}
	list := func(reservedMilliCPU, reservedMiB int64) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU:              *resource.NewMilliQuantity(s.cpu*1000-reservedMilliCPU, resource.DecimalSI),
			corev1.ResourceMemory:           *resource.NewQuantity((s.memory<<10-reservedMiB)<<20, resource.BinarySI),
			corev1.ResourceEphemeralStorage: resource.MustParse("80Gi"),
			corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
		}
	}
	return list(0, 0), list(80, 1024)
}
