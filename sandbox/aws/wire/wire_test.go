package wire

import (
	"bytes"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name   string
	Values []string `q:"Value" x:"valueSet"`
}

type sample struct {
	ID      string `q:"InstanceId" x:"instanceId"`
	Count   *int32
	On      *bool
	When    time.Time
	Filters []inner `q:"Filter" x:"filterSet"`
	Names   []string
	One     *inner
	hidden  string //nolint:unused // proves that unexported fields take no part
}

func TestDecode(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		name  string
		p     Protocol
		query string
		want  sample
		err   error
	}{
		{name: "ec2 lists are flat", p: EC2, query: "Filter.1.Name=a&Filter.1.Value.1=x&Filter.1.Value.2=y&Filter.2.Name=b",
			want: sample{Filters: []inner{{Name: "a", Values: []string{"x", "y"}}, {Name: "b"}}}},
		{name: "query lists have members", p: Query, query: "Names.member.2=b&Names.member.1=a", want: sample{Names: []string{"a", "b"}}},
		{name: "ten comes after nine", p: EC2, query: "Names.10=j&Names.9=i", want: sample{Names: []string{"i", "j"}}},
		{name: "an empty list is sent without members", p: Query, query: "Names=", want: sample{Names: []string{}}},
		{name: "scalars", p: EC2, query: "InstanceId=i-1&Count=-3&On=false&When=2026-01-02T03:04:05Z&Action=X&Version=1",
			want: sample{ID: "i-1", Count: new(int32), On: new(bool), When: when}},
		{name: "a structure", p: Query, query: "One.Name=n", want: sample{One: &inner{Name: "n"}}},
		{name: "unknown parameter", p: EC2, query: "Nope=1", err: &UnknownParameterError{Name: "Nope"}},
		{name: "unknown inside a list", p: EC2, query: "Filter.1.Nope=1", err: &UnknownParameterError{Name: "Filter.1.Nope"}},
		{name: "the first by name of several unknown", p: EC2, query: "Z=1&B=1&Y=1", err: &UnknownParameterError{Name: "B"}},
		{name: "an ec2 list in query", p: Query, query: "Names.1=a", err: &UnknownParameterError{Name: "Names.1"}},
		{name: "a structure where a scalar belongs", p: EC2, query: "InstanceId.Deep=1", err: &UnknownParameterError{Name: "InstanceId.Deep"}},
		{name: "not a number", p: EC2, query: "Count=many", err: &BadValueError{Name: "Count", Value: "many", Want: "an integer"}},
		{name: "too large for its type", p: EC2, query: "Count=2147483648", err: &BadValueError{Name: "Count", Value: "2147483648", Want: "an integer"}},
		{name: "not a boolean", p: EC2, query: "On=maybe", err: &BadValueError{Name: "On", Value: "maybe", Want: "true or false"}},
		{name: "not a time", p: EC2, query: "When=noon", err: &BadValueError{Name: "When", Value: "noon", Want: "a timestamp"}},
		{name: "an index that would allocate", p: EC2, query: "Names.999999999=a", err: &BadValueError{Name: "Names.999999999", Value: "999999999", Want: "a list index"}},
		{name: "unexported fields take no part", p: EC2, query: "hidden=x", err: &UnknownParameterError{Name: "hidden"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			form, err := url.ParseQuery(tc.query)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want.Count != nil {
				*tc.want.Count = -3
			}
			var got sample
			err = Decode(tc.p, form, &got)
			if tc.err != nil {
				if err == nil || err.Error() != tc.err.Error() {
					t.Fatalf("error %v, want %v", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(sample{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecodeErrorsCanBeTold(t *testing.T) {
	var unknown *UnknownParameterError
	if err := Decode(EC2, url.Values{"X": {"1"}}, &sample{}); !errors.As(err, &unknown) {
		t.Errorf("%v is no UnknownParameterError", err)
	}
	var bad *BadValueError
	if err := Decode(EC2, url.Values{"Count": {"x"}}, &sample{}); !errors.As(err, &bad) {
		t.Errorf("%v is no BadValueError", err)
	}
}

func TestEncode(t *testing.T) {
	empty, no := "", false
	for _, tc := range []struct {
		name string
		p    Protocol
		in   any
		want string
	}{
		{"ec2 names begin small, lists hold items", EC2, &sample{ID: "i-1", Filters: []inner{{Name: "a", Values: []string{"x"}}}},
			"<instanceId>i-1</instanceId><filterSet><item><name>a</name><valueSet><item>x</item></valueSet></item></filterSet>"},
		{"a list whose items have a name of their own", EC2, &struct {
			G []string `x:"groupSet" item:"groupId"`
		}{[]string{"sg"}}, "<groupSet><groupId>sg</groupId></groupSet>"},
		{"query keeps names, lists hold members", Query, &struct{ Names []string }{[]string{"a", ""}}, "<Names><member>a</member><member></member></Names>"},
		{"nothing that is not set", EC2, &sample{}, ""},
		{"an empty list shows", Query, &struct{ Names []string }{[]string{}}, "<Names></Names>"},
		{"pointers show what is empty", Query, &struct {
			S *string
			B *bool
		}{&empty, &no}, "<S></S><B>false</B>"},
		{"numbers and booleans always", Query, &struct {
			N int64
			B bool
		}{}, "<N>0</N><B>false</B>"},
		{"times in UTC with milliseconds", Query, &struct{ T time.Time }{time.Date(2026, 1, 2, 4, 4, 5, 6e6, time.FixedZone("x", 3600))}, "<T>2026-01-02T03:04:05.006Z</T>"},
		{"a less-than alone", Query, &struct{ S string }{"a<b"}, "<S>a&lt;b</S>"},
		{"a control character", Query, &struct{ S string }{"a\nb"}, "<S>a&#xA;b</S>"},
		{"what is no ASCII", Query, &struct{ S string }{"größe"}, "<S>größe</S>"},
		{"what XML cannot hold", Query, &struct{ S string }{"a\x00b"}, "<S>a\uFFFDb</S>"},
		{"text is escaped", Query, &struct{ S string }{"<a>&\""}, "<S>&lt;a&gt;&amp;&#34;</S>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			Encode(tc.p, &b, tc.in)
			if b.String() != tc.want {
				t.Errorf("\n got %s\nwant %s", b.String(), tc.want)
			}
		})
	}
}
