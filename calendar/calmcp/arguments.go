package calmcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Arguments are checked here and not by the SDK, whose errors name a schema's path and no
// remedy. What a value may be beyond its type, the service says, in the same words.
//
//  1. null, and "" or [] for what is neither text nor list, is an optional parameter that
//     is left out, or cleared where a change clears.
//  2. What is not known is ignored, as by the original server, and the result says so.

const (
	maxWarnings = 10
	maxShown    = 60   // bytes of an argument that an error quotes
	maxEntries  = 5000 // of a list
)

// arguments reads a call's arguments into a struct, by the schema and the aliases.
func arguments(raw json.RawMessage, s *jsonschema.Schema, aliases map[string]string, into any) (warnings []string, err error) {
	a := &checker{}
	members := map[string]any{}
	if len(bytes.TrimSpace(raw)) > 0 {
		v, err := decode(raw)
		if err != nil {
			return nil, err
		}
		object, ok := v.(map[string]any)
		if !ok && v != nil {
			return nil, invalid("arguments", "%s is no object; send the parameters by name, for example %s.", shown(v), exampleOf(s))
		}
		if object != nil {
			members = object
		}
	}
	for alias, name := range aliases {
		v, there := members[alias]
		_, both := members[name]
		switch delete(members, alias); {
		case both && there:
			a.warnings = append(a.warnings, fmt.Sprintf("%q was ignored, as %q is there", alias, name))
		case there:
			members[name] = v
		}
	}
	checked, err := a.object(s, "", members)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(checked)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, invalid("arguments", "they can't be read; send for example %s.", exampleOf(s))
	}
	return a.warnings, nil
}

// decode reads one JSON value and keeps numbers as they are.
func decode(raw []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, invalid("arguments", "they are no JSON; send an object with the parameters by name.")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid("arguments", "something follows the object; send one JSON object.")
	}
	return v, nil
}

type checker struct{ warnings []string }

// object returns the known members, each of its type.
func (a *checker) object(s *jsonschema.Schema, path string, members map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(members))
	for _, name := range s.PropertyOrder {
		v, there := members[name]
		p := notNull(s.Properties[name])
		required := slices.Contains(s.Required, name)
		if !required && isBlank(p, v) {
			v = nil
		}
		switch {
		case required && (v == nil || v == ""):
			return nil, invalid(join(path, name), "it is missing; send %s.", wanted(p))
		case !there:
			continue
		case v == nil:
			out[name] = nil
			continue
		}
		var err error
		if out[name], err = a.value(p, join(path, name), v); err != nil {
			return nil, err
		}
	}
	a.unknown(s, path, members)
	return out, nil
}

// isBlank says whether a value means none.
func isBlank(s *jsonschema.Schema, v any) bool {
	switch v := v.(type) {
	case string:
		return v == "" && s.Type != "string"
	case []any:
		return len(v) == 0 && s.Type != "array"
	}
	return v == nil
}

func (a *checker) value(s *jsonschema.Schema, path string, v any) (any, error) {
	switch v := v.(type) {
	case string:
		if s.Type == "string" {
			return v, nil
		}
	case bool:
		if s.Type == "boolean" {
			return v, nil
		}
	case json.Number:
		if n, ok := wholeNumber(v); ok && s.Type == "integer" {
			return n, nil
		}
	case map[string]any:
		if s.Type == "object" {
			return a.object(s, path, v)
		}
	case []any:
		if s.Type == "array" {
			if len(v) > maxEntries {
				return nil, invalid(path, "%d entries are too many; send at most %d.", len(v), maxEntries)
			}
			out := make([]any, len(v))
			for i, item := range v {
				at := fmt.Sprintf("%s[%d]", path, i)
				var err error
				if item == nil {
					err = invalid(at, "it is null; send %s, or leave it out.", wanted(s.Items))
				} else {
					out[i], err = a.value(s.Items, at, item)
				}
				if err != nil {
					return nil, err
				}
			}
			return out, nil
		}
	}
	return nil, invalid(path, "%s is not %s; send %s.", shown(v), kinds[s.Type], wanted(s))
}

// wholeNumber reads a whole number, 3.0 and 3e0 too.
func wholeNumber(n json.Number) (int64, bool) {
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

var kinds = map[string]string{
	"string": "a text", "integer": "a whole number", "boolean": "true or false", "array": "a list", "object": "an object",
}

// wanted says what to send for a parameter, with an example.
func wanted(s *jsonschema.Schema) string {
	return fmt.Sprintf("%s, for example %s", kinds[s.Type], exampleOf(s))
}

// exampleOf is a parameter's example as JSON; that of an object shows what it needs.
func exampleOf(s *jsonschema.Schema) string {
	var v any
	switch {
	case len(s.Examples) > 0:
		v = s.Examples[0]
	case len(s.Properties) > 0:
		m := map[string]any{}
		for _, name := range s.PropertyOrder {
			if len(s.Required) == 0 || slices.Contains(s.Required, name) {
				m[name] = s.Properties[name].Examples[0]
				if len(s.Required) == 0 {
					break
				}
			}
		}
		v = m
	}
	data, err := marshal(v)
	if err != nil {
		return "{}"
	}
	return string(data)
}

// shown is an argument as an error quotes it.
func shown(v any) string {
	data, err := marshal(v)
	if err != nil {
		return "that"
	}
	return clip(string(data), maxShown)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// unknown warns of members that the schema does not have.
func (a *checker) unknown(s *jsonschema.Schema, path string, members map[string]any) {
	var names []string
	for name := range members {
		if s.Properties[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if len(a.warnings) == maxWarnings {
			return
		}
		warning := fmt.Sprintf("%s is not known and was ignored", shown(join(path, name)))
		if near := nearest(name, s.PropertyOrder); near != "" {
			warning += fmt.Sprintf("; did you mean %q?", near)
		}
		a.warnings = append(a.warnings, warning)
	}
}

// nearest is the name that was probably meant; "" if none is near.
func nearest(name string, names []string) string {
	best, distance := "", 3
	if len(name) > 40 {
		return ""
	}
	for _, n := range names {
		if strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(name), n) {
			return n
		}
		if d := edits(name, n); d < distance && d < len(n)/2 {
			best, distance = n, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two short names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := last
			if a[i] != b[j] {
				d = min(last, row[j], row[j+1]) + 1
			}
			last, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
