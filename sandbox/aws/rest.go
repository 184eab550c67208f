package aws

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// route tells one operation of the protocol REST-JSON by its method and its path, as AWS's model gives them: segments in
// braces stand for one segment each, an escaped slash being part of it.
type route struct {
	method, path, action string
}

// findRoute answers the action of a request and what the placeholders of its path stand for; "" where there is none.
func findRoute(routes []route, method, escapedPath string) (action string, values []string) {
	given := strings.Split(strings.Trim(escapedPath, "/"), "/")
	for _, r := range routes {
		if r.method != method {
			continue
		}
		if values, ok := matchPath(strings.Split(strings.Trim(r.path, "/"), "/"), given); ok {
			return r.action, values
		}
	}
	return "", nil
}

func matchPath(pattern, given []string) (values []string, ok bool) {
	if len(pattern) != len(given) {
		return nil, false
	}
	for i, p := range pattern {
		v, err := url.PathUnescape(given[i])
		if err != nil {
			return nil, false
		}
		switch {
		case strings.HasPrefix(p, "{"):
			values = append(values, v)
		case p != v:
			return nil, false
		}
	}
	return values, true
}

// restAction makes an action of the protocol REST-JSON. Fields of In with the tag `uri:"N"` are the path's placeholder
// number N, those with `query:"name"` are query parameters, the others are the JSON body's by encoding/json's rules (give
// the first two `json:"-"`). What In does not know is refused by name.
func restAction[In, Out any](f func(*Cloud, *In) (*Out, error)) action {
	return func(c *Cloud, r request) ([]byte, error) {
		in := new(In)
		if err := decodeREST(r, in); err != nil {
			return nil, err
		}
		out, err := f(c, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

func decodeREST(r request, into any) error {
	d := json.NewDecoder(bytes.NewReader(r.json))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && err != io.EOF {
		return failf("SerializationException", "%v", err)
	}
	v := reflect.ValueOf(into).Elem()
	known := map[string]bool{}
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if n, ok := tag.Lookup("uri"); ok {
			at, err := strconv.Atoi(n)
			if err != nil || at >= len(r.path) {
				panic("aws: " + v.Type().String() + " has a uri tag that its route has no placeholder for") // ours
			}
			v.Field(i).SetString(r.path[at])
		}
		if name, ok := tag.Lookup("query"); ok {
			known[name] = true
			if err := decodeQuery(name, r.form[name], v.Field(i)); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.form)) {
		if !known[name] {
			return failf("SerializationException", "the simulated AWS does not know the query parameter %s here", name)
		}
	}
	return nil
}

func decodeQuery(name string, values []string, into reflect.Value) error {
	switch {
	case len(values) == 0:
	case into.Kind() == reflect.Slice:
		into.Set(reflect.ValueOf(values))
	case into.Kind() == reflect.String:
		into.SetString(values[0])
	case into.Type() == reflect.TypeFor[*int]():
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return failf("SerializationException", "%s is not a number: %q", name, values[0])
		}
		into.Set(reflect.ValueOf(&n))
	default:
		panic("aws: cannot decode a query parameter into " + into.Type().String()) // ours
	}
	return nil
}

// writeRESTError answers an error as REST-JSON does: its code in a header, its members in the body.
func writeRESTError(w http.ResponseWriter, status int, id string, e *Error) {
	members := map[string]string{"message": e.Message}
	maps.Copy(members, e.About)
	b, err := json.Marshal(members)
	if err != nil {
		panic(err) // strings always marshal
	}
	w.Header().Set("X-Amzn-Errortype", e.Code)
	writeBody(w, status, "application/json", id, b)
}
