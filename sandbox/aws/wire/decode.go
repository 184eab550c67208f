package wire

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// UnknownParameterError names a request parameter that the action's struct does not have. The simulated AWS refuses
// what it does not know: a parameter dropped in silence would let a caller believe in an effect that never comes.
type UnknownParameterError struct{ Name string }

func (e *UnknownParameterError) Error() string {
	return "the parameter " + e.Name + " is not recognized"
}

// BadValueError names a request parameter whose value does not parse.
type BadValueError struct {
	Name, Value, Want string
}

func (e *BadValueError) Error() string {
	return fmt.Sprintf("value (%s) for parameter %s is invalid: expected %s", e.Value, e.Name, e.Want)
}

// maxListIndex bounds the index of a list parameter, so that Foo.999999999 cannot make the decoder allocate.
// 1000 is the largest list that AWS's own limits allow in any action here; the rest is room.
const maxListIndex = 10_000

// param is a node of the tree that the dotted parameter names span.
type param struct {
	path  string
	value *string
	kids  map[string]*param
}

// Decode fills *into, a struct, from the form parameters. The parameters Action and Version are not the struct's.
// Errors are *UnknownParameterError and *BadValueError.
func Decode(p Protocol, form url.Values, into any) error {
	root := &param{}
	for key, vals := range form {
		if key == "Action" || key == "Version" || len(vals) == 0 {
			continue
		}
		n := root
		for part := range strings.SplitSeq(key, ".") {
			kid := n.kids[part]
			if kid == nil {
				kid = &param{path: join(n.path, part)}
				if n.kids == nil {
					n.kids = map[string]*param{}
				}
				n.kids[part] = kid
			}
			n = kid
		}
		n.value = &vals[0]
	}
	return decodeStruct(p, root, reflect.ValueOf(into).Elem())
}

func join(path, part string) string {
	if path == "" {
		return part
	}
	return path + "." + part
}

func decodeStruct(p Protocol, n *param, v reflect.Value) error {
	known := make(map[string]bool, v.NumField())
	for i := range v.NumField() {
		name := requestName(v.Type().Field(i))
		if name == "" {
			continue
		}
		known[name] = true
		if kid := n.kids[name]; kid != nil {
			if err := decodeValue(p, kid, v.Field(i)); err != nil {
				return err
			}
		}
	}
	// Sorted, so that the same request always names the same parameter.
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		if !known[name] {
			return &UnknownParameterError{Name: n.kids[name].path}
		}
	}
	return nil
}

func decodeValue(p Protocol, n *param, v reflect.Value) error {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(p, n, v.Elem())
	case v.Kind() == reflect.Slice:
		return decodeList(p, n, v)
	case v.Kind() == reflect.Struct && v.Type() != timeType:
		return decodeStruct(p, n, v)
	}
	if len(n.kids) > 0 {
		return &UnknownParameterError{Name: slices.Min(paths(n))}
	}
	return decodeScalar(n.path, *n.value, v)
}

func paths(n *param) []string {
	var out []string
	for _, k := range n.kids {
		out = append(out, k.path)
	}
	return out
}

// decodeList reads Name.1, Name.2 (ec2) or Name.member.1 (query). An empty list is sent as "Name=".
func decodeList(p Protocol, n *param, v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.kids)))
	if p == Query && len(n.kids) > 0 {
		m := n.kids["member"]
		if m == nil || len(n.kids) > 1 {
			return &UnknownParameterError{Name: slices.Min(paths(n))}
		}
		n = m
	}
	indices := make([]int, 0, len(n.kids))
	for k, kid := range n.kids {
		i, err := strconv.Atoi(k)
		if err != nil || i < 1 || i > maxListIndex {
			return &BadValueError{Name: kid.path, Value: k, Want: "a list index"}
		}
		indices = append(indices, i)
	}
	slices.Sort(indices)
	for _, i := range indices {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := decodeValue(p, n.kids[strconv.Itoa(i)], e); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
	}
	return nil
}

func decodeScalar(path, s string, v reflect.Value) error {
	switch {
	case v.Type() == timeType:
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return &BadValueError{Name: path, Value: s, Want: "a timestamp"}
		}
		v.Set(reflect.ValueOf(t))
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return &BadValueError{Name: path, Value: s, Want: "true or false"}
		}
		v.SetBool(b)
	case v.CanInt():
		i, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return &BadValueError{Name: path, Value: s, Want: "an integer"}
		}
		v.SetInt(i)
	default:
		panic("wire: cannot decode into " + v.Type().String()) // a mistake in a request struct of ours
	}
	return nil
}
