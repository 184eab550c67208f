package eks

import (
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// fillStruct sets every field of a struct of the SDK, so that what is not carried over is
// seen.
func fillStruct(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillStruct(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fillStruct(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillStruct(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), reflect.ValueOf("value").Convert(v.Type().Elem()))
	case reflect.String:
		v.SetString("text")
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// The second node group of blue-green is made from all that EKS tells of the first:
// a field that the SDK gains must be carried over, or named here with the reason.
func TestGreenIsDescribedWhole(t *testing.T) {
	elsewhere := map[string]string{
		"NodegroupName":      "createGreen",
		"ClientRequestToken": "createGreen",
		"ScalingConfig":      "createGreen",
		"WarmPoolConfig":     "a group with a warm pool is refused: warm-pool-unsupported",
	}
	n := &ekstypes.Nodegroup{}
	v := reflect.ValueOf(n).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.CanSet() && f.Type() != reflect.TypeFor[*ekstypes.NodegroupHealth]() && f.Type() != reflect.TypeFor[*ekstypes.NodegroupResources]() && v.Type().Field(i).Name != "CreatedAt" && v.Type().Field(i).Name != "ModifiedAt" {
			fillStruct(f)
		}
	}
	n.AmiType, n.LaunchTemplate.Version = ekstypes.AMITypesAl2023X8664Standard, aws.String("3")
	m := newManaged(n, ManagedNodeGroups{})
	m.want("1.37", map[string]string{}, 4)
	got := reflect.ValueOf(*m.describe())
	for i := range got.NumField() {
		f := got.Type().Field(i)
		if why := elsewhere[f.Name]; !f.IsExported() {
			continue
		} else if got.Field(i).IsZero() == (why == "") {
			t.Errorf("%s: carried over %t, elsewhere %q", f.Name, !got.Field(i).IsZero(), why)
		}
	}
	if in := m.describe(); aws.ToString(in.LaunchTemplate.Version) != "4" || reflect.DeepEqual(in, &eks.CreateNodegroupInput{}) {
		t.Errorf("launch template version %s, want 4", aws.ToString(in.LaunchTemplate.Version))
	}
}
