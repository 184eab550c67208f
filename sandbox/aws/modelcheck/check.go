package modelcheck

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// node is an XML element.
type node struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
	Kids    []node `xml:",any"`
}

// check gathers what is wrong with one answer.
type check struct {
	model    *Model
	problems []string
	values   int // how many values were held against the model
}

func (c *check) bad(path, format string, args ...any) {
	c.problems = append(c.problems, path+": "+fmt.Sprintf(format, args...))
}

// Body checks the body of an answer: operation of a service, HTTP status, the header X-Amzn-Errortype, bytes. It returns
// what is wrong, nothing when all is well, and how many values it looked at.
func (k *Checker) Body(service, operation string, status int, errorType string, body []byte) (problems []string, values int) {
	m := k.models[service]
	if m == nil {
		return []string{fmt.Sprintf("no API model for service %q", service)}, 0
	}
	c := &check{model: m}
	op, known := m.Operations[operation]
	switch {
	case status >= 300 && m.Metadata.Protocol == "rest-json":
		c.restError(operation, status, errorType, body)
	case status >= 300 && m.Metadata.Protocol == "json":
		c.jsonError(operation, status, body)
	case status >= 300:
		c.xmlError(operation, body)
	case !known:
		c.bad(operation, "the API has no such operation, and yet it succeeded")
	case m.Metadata.Protocol == "json" || m.Metadata.Protocol == "rest-json":
		c.jsonBody(operation, op.Output, body)
	default:
		c.xmlBody(operation, op.Output, body)
	}
	return c.problems, c.values
}

func parseXML(body []byte) (node, error) {
	var n node
	err := xml.NewDecoder(bytes.NewReader(body)).Decode(&n)
	return n, err
}

// xmlBody checks an answer of the protocols ec2 and query: <OperationResponse>, in query with <OperationResult> and
// <ResponseMetadata> inside, in ec2 with <requestId>.
func (c *check) xmlBody(operation string, out *ref, body []byte) {
	root, err := parseXML(body)
	if err != nil {
		c.bad(operation, "not XML: %v", err)
		return
	}
	if want := operation + "Response"; root.XMLName.Local != want {
		c.bad(operation, "root element <%s>, want <%s>", root.XMLName.Local, want)
	}
	// A trailing slash is the services' own habit: EC2 answers with one that its model lacks.
	if ns := c.model.Metadata.XMLNamespace; strings.TrimSuffix(ns, "/") != strings.TrimSuffix(root.XMLName.Space, "/") {
		c.bad(operation, "namespace %q, want %q", root.XMLName.Space, ns)
	}
	if c.model.Metadata.Protocol == "ec2" {
		root = c.take(operation, root, "requestId")
	} else {
		root = c.take(operation, root, "ResponseMetadata")
	}
	switch {
	case out == nil && c.model.Metadata.Protocol == "ec2":
		// The models leave out the <return>true</return> of EC2's older operations.
		root.Kids = slices.DeleteFunc(root.Kids, func(n node) bool { return n.XMLName.Local == "return" && n.Text == "true" })
		fallthrough
	case out == nil:
		for _, n := range root.Kids {
			c.bad(operation, "element <%s> in an answer that has no output", n.XMLName.Local)
		}
		return
	case out.ResultWrapper != "":
		if len(root.Kids) != 1 || root.Kids[0].XMLName.Local != out.ResultWrapper {
			c.bad(operation, "want exactly one <%s> beside the metadata", out.ResultWrapper)
			return
		}
		root = root.Kids[0]
	}
	c.element(operation, root, out.Shape)
}

// take removes the metadata element that every answer has.
func (c *check) take(operation string, root node, name string) node {
	before := len(root.Kids)
	root.Kids = slices.DeleteFunc(slices.Clone(root.Kids), func(n node) bool { return n.XMLName.Local == name })
	if before-len(root.Kids) != 1 {
		c.bad(operation, "want exactly one <%s>, have %d", name, before-len(root.Kids))
	}
	return root
}

func nameOf(member string, r *ref) string {
	if r.LocationName != "" {
		return r.LocationName
	}
	return member
}

// element checks one XML element against a shape.
func (c *check) element(path string, n node, shapeName string) {
	s := c.model.Shapes[shapeName]
	switch s.Type {
	case "structure":
		c.structure(path, n, s)
	case "list":
		c.text(path, n)
		want := s.Member.LocationName
		if want == "" {
			want = "member"
		}
		c.length(path, s, len(n.Kids))
		for i, kid := range n.Kids {
			if kid.XMLName.Local != want {
				c.bad(path, "list element <%s>, want <%s>", kid.XMLName.Local, want)
				continue
			}
			c.element(fmt.Sprintf("%s[%d]", path, i), kid, s.Member.Shape)
		}
	case "map":
		c.text(path, n)
		for i, entry := range n.Kids {
			if entry.XMLName.Local != "entry" {
				c.bad(path, "map element <%s>, want <entry>", entry.XMLName.Local)
				continue
			}
			c.entry(fmt.Sprintf("%s{%d}", path, i), entry, s)
		}
	default:
		if len(n.Kids) > 0 {
			c.bad(path, "element <%s> inside a %s", n.Kids[0].XMLName.Local, s.Type)
		}
		c.scalar(path, s, n.Text)
	}
}

// structure checks members, their names and that none that is required is missing. The items of a flattened list or map
// stand among the members, each under the list's own name.
func (c *check) structure(path string, n node, s *shape) {
	c.text(path, n)
	byName := map[string]*ref{}
	for member, r := range s.Members {
		target := c.model.Shapes[r.Shape]
		name := nameOf(member, r)
		if (r.Flattened || target.Flattened) && target.Member != nil && target.Member.LocationName != "" && r.LocationName == "" {
			name = target.Member.LocationName
		}
		byName[name] = r
	}
	count := map[string]int{}
	for _, kid := range n.Kids {
		name := kid.XMLName.Local
		r := byName[name]
		if r == nil {
			c.bad(path, "unknown element <%s>", name)
			continue
		}
		count[name]++
		target := c.model.Shapes[r.Shape]
		flat := r.Flattened || target.Flattened
		switch {
		case flat && target.Type == "list":
			c.element(fmt.Sprintf("%s/%s[%d]", path, name, count[name]-1), kid, target.Member.Shape)
		case flat && target.Type == "map":
			c.entry(fmt.Sprintf("%s/%s{%d}", path, name, count[name]-1), kid, target)
		default:
			if count[name] > 1 {
				c.bad(path, "element <%s> more than once", name)
			}
			c.element(path+"/"+name, kid, r.Shape)
		}
	}
	for _, member := range s.Required {
		if name := nameOf(member, s.Members[member]); count[name] == 0 {
			c.bad(path, "missing required <%s>", name)
		}
	}
}

// entry checks the key and the value of one map entry.
func (c *check) entry(path string, n node, s *shape) {
	key, value := nameOf("key", s.Key), nameOf("value", s.Value)
	for _, kid := range n.Kids {
		switch kid.XMLName.Local {
		case key:
			c.element(path+"/"+key, kid, s.Key.Shape)
		case value:
			c.element(path+"/"+value, kid, s.Value.Shape)
		default:
			c.bad(path, "map entry with <%s>, want <%s> and <%s>", kid.XMLName.Local, key, value)
		}
	}
	if len(n.Kids) != 2 {
		c.bad(path, "a map entry of %d elements, want 2", len(n.Kids))
	}
}

// text reports character data where only elements belong.
func (c *check) text(path string, n node) {
	if t := strings.TrimSpace(n.Text); t != "" {
		c.bad(path, "text %q between elements", t)
	}
}

func (c *check) length(path string, s *shape, n int) {
	if s.Min != nil && float64(n) < *s.Min || s.Max != nil && float64(n) > *s.Max {
		c.bad(path, "%d items or characters, outside the model's bounds", n)
	}
}

// scalar checks the text of a leaf in XML.
func (c *check) scalar(path string, s *shape, text string) {
	c.values++
	switch s.Type {
	case "integer", "long":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || s.Type == "integer" && (n < math.MinInt32 || n > math.MaxInt32) {
			c.bad(path, "not an %s: %q", s.Type, text)
		}
		c.bounds(path, s, float64(n))
	case "double", "float":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			c.bad(path, "not a number: %q", text)
		}
		c.bounds(path, s, f)
	case "boolean":
		if text != "true" && text != "false" {
			c.bad(path, "not a boolean: %q", text)
		}
	case "timestamp":
		if t, err := time.Parse(time.RFC3339Nano, text); err != nil || t.IsZero() {
			c.bad(path, "not a timestamp: %q", text)
		}
	case "string":
		c.str(path, s, text)
	default:
		c.bad(path, "the checker does not know the type %q", s.Type)
	}
}

func (c *check) str(path string, s *shape, text string) {
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
		c.bad(path, "%q is none of %s", text, strings.Join(s.Enum, ", "))
	}
	c.length(path, s, utf8.RuneCountInString(text))
}

func (c *check) bounds(path string, s *shape, n float64) {
	if s.Min != nil && n < *s.Min || s.Max != nil && n > *s.Max {
		c.bad(path, "%v is outside the model's bounds", n)
	}
}

// xmlError checks an error of ec2 (<Response><Errors><Error>…</Errors><RequestID>) or query
// (<ErrorResponse><Error><Type>…</Error><RequestId>).
func (c *check) xmlError(operation string, body []byte) {
	root, err := parseXML(body)
	if err != nil {
		c.bad(operation, "an error that is not XML: %v", err)
		return
	}
	var shown []string
	flatten(root, "", func(path string, n node) {
		shown = append(shown, path)
		if n.Text == "" && path != "Error/Message" && path != "Errors/Error/Message" {
			c.bad(operation, "empty <%s> in an error", path)
		}
		c.values++
	})
	slices.Sort(shown)
	want := []string{"Error/Code", "Error/Message", "Error/Type", "RequestId"}
	rootName := "ErrorResponse"
	if c.model.Metadata.Protocol == "ec2" {
		want, rootName = []string{"Errors/Error/Code", "Errors/Error/Message", "RequestID"}, "Response"
	}
	if root.XMLName.Local != rootName || !slices.Equal(shown, want) {
		c.bad(operation, "an error of <%s> with %v, want <%s> with %v", root.XMLName.Local, shown, rootName, want)
	}
}

// flatten visits the leaves below an element with their paths.
func flatten(n node, path string, visit func(string, node)) {
	for _, kid := range n.Kids {
		p := strings.TrimPrefix(path+"/"+kid.XMLName.Local, "/")
		if len(kid.Kids) == 0 {
			visit(p, kid)
		}
		flatten(kid, p, visit)
	}
}

// jsonError checks an error of JSON 1.1: __type and message, the type among those that the operation declares or that
// every AWS service may answer.
func (c *check) jsonError(operation string, status int, body []byte) {
	var e map[string]string
	if err := json.Unmarshal(body, &e); err != nil {
		c.bad(operation, "an error that is not JSON: %v", err)
		return
	}
	c.values += len(e)
	if keys := slices.Sorted(maps.Keys(e)); !slices.Equal(keys, []string{"__type", "message"}) {
		c.bad(operation, "an error with %v, want __type and message", keys)
	}
	c.errorType(operation, e["__type"])
	want := 400
	if s := c.model.Shapes[e["__type"]]; s != nil && s.Fault {
		want = 500
	} else if s != nil && s.Error.HTTPStatusCode != 0 {
		want = s.Error.HTTPStatusCode
	}
	if e["__type"] == "InvalidSignatureException" {
		want = 403
	}
	if status != want {
		c.bad(operation, "error %s with status %d, want %d", e["__type"], status, want)
	}
}

// errorType checks that an error is among those that the operation declares or that every AWS service may answer.
func (c *check) errorType(operation, code string) {
	common := []string{
		"AccessDeniedException", "ExpiredTokenException", "InvalidSignatureException", "MissingAuthenticationTokenException", "SerializationException", "ThrottlingException",
		"TooManyRequestsException", "UnknownOperationException", "UnrecognizedClientException", "ValidationException",
	}
	declared := slices.ContainsFunc(c.model.Operations[operation].Errors, func(r ref) bool { return r.Shape == code })
	if !declared && !slices.Contains(common, code) {
		c.bad(operation, "error %q is not among those of the operation", code)
	}
}

// restError checks an error of REST-JSON: its type in a header, its members in the body. The model says what members and
// which status each of the service's own errors has; those that every service may answer have a message.
func (c *check) restError(operation string, status int, code string, body []byte) {
	c.errorType(operation, code)
	s := c.model.Shapes[code]
	if s == nil {
		s = &shape{Type: "structure", Members: map[string]*ref{"message": {Shape: "String"}}}
		s.Error.HTTPStatusCode = map[string]int{"AccessDeniedException": 403, "ExpiredTokenException": 403, "InvalidSignatureException": 403, "TooManyRequestsException": 429,
			"UnknownOperationException": 404, "UnrecognizedClientException": 403}[code]
	}
	want := s.Error.HTTPStatusCode
	if want == 0 {
		want = 400
	}
	if status != want {
		c.bad(operation, "error %s with status %d, want %d", code, status, want)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		c.bad(operation, "an error that is not a JSON object: %v", err)
		return
	}
	c.object(operation, v, s)
}

// jsonBody checks an answer of JSON 1.1 or of REST-JSON.
func (c *check) jsonBody(operation string, out *ref, body []byte) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		c.bad(operation, "not JSON: %v", err)
		return
	}
	if out == nil {
		if m, ok := v.(map[string]any); !ok || len(m) > 0 {
			c.bad(operation, "content in an answer that has no output")
		}
		return
	}
	c.value(operation, v, out.Shape)
}

// value checks one JSON value against a shape.
func (c *check) value(path string, v any, shapeName string) {
	s := c.model.Shapes[shapeName]
	switch v := v.(type) {
	case map[string]any:
		c.object(path, v, s)
	case []any:
		if s.Type != "list" {
			c.bad(path, "an array, want a %s", s.Type)
			return
		}
		c.length(path, s, len(v))
		for i, e := range v {
			c.value(fmt.Sprintf("%s[%d]", path, i), e, s.Member.Shape)
		}
	case string:
		c.values++
		if s.Type != "string" {
			c.bad(path, "a string, want a %s", s.Type)
			return
		}
		c.str(path, s, v)
	case bool:
		c.values++
		if s.Type != "boolean" {
			c.bad(path, "a boolean, want a %s", s.Type)
		}
	case json.Number:
		c.values++
		switch _, err := v.Int64(); {
		case (s.Type == "integer" || s.Type == "long") && err == nil, s.Type == "double", s.Type == "float", s.Type == "timestamp":
		default:
			c.bad(path, "the number %s, want a %s", v, s.Type)
		}
	default:
		c.bad(path, "null, want a %s", s.Type)
	}
}

func (c *check) object(path string, v map[string]any, s *shape) {
	switch s.Type {
	case "map":
		for k, e := range v {
			c.value(path+"{"+k+"}", e, s.Value.Shape)
		}
		return
	case "structure":
	default:
		c.bad(path, "an object, want a %s", s.Type)
		return
	}
	byName := map[string]*ref{}
	for member, r := range s.Members {
		byName[nameOf(member, r)] = r
	}
	for _, k := range slices.Sorted(maps.Keys(v)) {
		if byName[k] == nil {
			c.bad(path, "unknown member %q", k)
			continue
		}
		c.value(path+"."+k, v[k], byName[k].Shape)
	}
	for _, member := range s.Required {
		if _, ok := v[nameOf(member, s.Members[member])]; !ok {
			c.bad(path, "missing required %q", member)
		}
	}
}
