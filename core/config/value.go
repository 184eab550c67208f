package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/plan"
)

// field returns the field of s that path names by its yaml tags. It panics for
// a path that does not exist: the table and plan.Spec are held together by a
// test.
func field(s *plan.Spec, path string) reflect.Value {
	v := reflect.ValueOf(s).Elem()
	for name := range strings.SplitSeq(path, ".") {
		found := false
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") == name {
				v, found = v.Field(i), true
				break
			}
		}
		if !found {
			panic("config: plan.Spec has no field " + path)
		}
	}
	return v
}

// set puts a value that parse returned, or a default, into the key's field.
func (k Key) set(s *plan.Spec, value any) {
	f := field(s, k.Path)
	if value == nil {
		f.SetZero()
		return
	}
	v := reflect.ValueOf(value)
	if l, ok := value.([]string); ok {
		v = reflect.ValueOf(append([]string(nil), l...)) // never shared with the table
	}
	f.Set(v.Convert(f.Type()))
}

// text is the key's value as a person writes it.
func (k Key) text(s *plan.Spec) string {
	switch v := field(s, k.Path).Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case []string:
		return strings.Join(v, ",")
	case []drain.Rule:
		return "" // too much for a line
	default:
		return fmt.Sprint(v)
	}
}

// formatDuration writes 15m0s as 15m.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parse reads a value from a text: a scalar of the file, a variable or a flag.
// The error says what was found and what is allowed. Ranges are checked later,
// by check.
func (k Key) parse(raw string) (any, error) {
	switch k.Kind {
	case Bool:
		b, err := strconv.ParseBool(raw)
		if err != nil {
			return nil, fmt.Errorf("%q is not a boolean: write true or false", raw)
		}
		return b, nil
	case Count:
		n, err := strconv.Atoi(strings.TrimSpace(raw))
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("%s is out of range: %s is allowed", strings.TrimSpace(raw), k.rangeText())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number: %s is allowed", raw, k.rangeText())
		}
		return n, nil
	case Duration:
		raw = strings.TrimSpace(raw)
		d, err := time.ParseDuration(raw)
		if err != nil {
			if n, e := strconv.ParseFloat(raw, 64); e == nil {
				return nil, fmt.Errorf("%s has no unit: write %ss for seconds or %sm for minutes", raw, trimFloat(n), trimFloat(n))
			}
			return nil, fmt.Errorf("%q is not a duration: write a number with a unit, such as 90s, 15m or 1h30m", raw)
		}
		return d, nil
	case List:
		return splitList(raw), nil
	default:
		return strings.TrimSpace(raw), nil
	}
}

func trimFloat(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// splitList reads a list from a variable or a flag.
func splitList(raw string) []string {
	var out []string
	for s := range strings.SplitSeq(raw, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// rangeText says which counts or durations are allowed.
func (k Key) rangeText() string {
	if k.Kind == Duration {
		return fmt.Sprintf("%s to %s", formatDuration(time.Duration(k.Min)), formatDuration(time.Duration(k.Max)))
	}
	return fmt.Sprintf("%d to %d", k.Min, k.Max)
}

// check says what is wrong with the key's value: one message each.
func (k Key) check(s *plan.Spec) []string {
	switch v := field(s, k.Path); k.Kind {
	case Count, Duration:
		n := v.Int()
		switch {
		case n < k.Min && k.Min == 0:
			return []string{fmt.Sprintf("%s is negative: %s is allowed", k.text(s), k.rangeText())}
		case n < k.Min || n > k.Max:
			return []string{fmt.Sprintf("%s is out of range: %s is allowed", k.text(s), k.rangeText())}
		}
	case Amount:
		// An empty amount stands for the default behaviour.
		if _, _, err := parseAmount(v.String()); err != nil && v.String() != "" {
			return []string{err.Error()}
		}
	case Text:
		// An empty text stands for the default behaviour, unless it must be one
		// of a few words.
		if v.String() != "" || len(k.Enum) > 0 {
			if m := k.checkText(v.String()); m != "" {
				return []string{m}
			}
		}
	case List:
		if len(k.Enum) > 0 && v.Len() == 0 {
			return []string{"the list is empty: give " + orList(k.Enum)}
		}
		var out []string
		for i := range v.Len() {
			if m := k.checkText(v.Index(i).String()); m != "" {
				out = append(out, m)
			}
		}
		return out
	case Bool, Map: // any value is allowed
	case Rules: // each has a place of its own: checkRules
	}
	return nil
}

func (k Key) checkText(s string) string {
	if len(k.Enum) > 0 {
		for _, e := range k.Enum {
			if s == e {
				return ""
			}
		}
		return fmt.Sprintf("%q is unknown%s: %s is allowed", s, didYouMean(s, k.Enum), orList(k.Enum))
	}
	if k.checkFn != nil {
		if m := k.checkFn(s); m != "" {
			return fmt.Sprintf("%q %s", s, m)
		}
	}
	return ""
}

// parseAmount reads a count or a percentage.
func parseAmount(s string) (n int, percent bool, err error) {
	const allowed = "give a count (2) or a percentage up to 100% (25%)"
	digits, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err = strconv.Atoi(digits) // out of range: the nearest number
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, false, fmt.Errorf("%q is neither a count nor a percentage: %s", s, allowed)
	case n < 0:
		return 0, false, fmt.Errorf("%q is negative: %s", s, allowed)
	case percent && n > 100:
		return 0, false, fmt.Errorf("%q is more than 100%%: %s", s, allowed)
	case n > maxNodes:
		return 0, false, fmt.Errorf("%q is more than %d, the size of the largest clusters: %s", s, maxNodes, allowed)
	}
	return n, percent, nil
}

// orList writes a, b or c.
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
