package calmcp

import (
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/perdure/perdure/calendar"
)

// A param is a parameter of a tool. Its examples are what errors about it show.
type param struct {
	name   string
	schema *jsonschema.Schema
}

func text(description string, example string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Description: description, Examples: []any{example}}
}

func words(description string, oneOf ...any) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Description: description, Enum: oneOf, Examples: oneOf[:1]}
}

func number(description string, lo, hi float64, example int) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Description: description, Minimum: &lo, Maximum: &hi, Examples: []any{example}}
}

func flag(description string, example bool) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "boolean", Description: description, Examples: []any{example}}
}

func list(description string, items *jsonschema.Schema, example any) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Description: description, Items: items, Examples: []any{example}}
}

// orNull is a schema that null passes, too. Two branches are read by more clients than
// two types are.
func orNull(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "null"}}}
}

// notNull is the branch of a schema for what is not null.
func notNull(s *jsonschema.Schema) *jsonschema.Schema {
	if len(s.AnyOf) > 0 {
		return s.AnyOf[0]
	}
	return s
}

// record is an object. It says nothing of further members: they are ignored, and the
// result warns of them.
func record(description string, required []string, params ...param) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Description: description, Required: required, Properties: make(map[string]*jsonschema.Schema)}
	for _, p := range params {
		s.Properties[p.name] = p.schema
		s.PropertyOrder = append(s.PropertyOrder, p.name)
	}
	return s
}

// outputSchema returns the schema of what a tool answers: that of T, open for fields of
// later versions.
func outputSchema[T any](describe map[string]string) *jsonschema.Schema {
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[calendar.Moment](): {Type: "string"},
		reflect.TypeFor[map[string]any]():  orNull(&jsonschema.Schema{Type: "object"}),
	}})
	if err != nil {
		panic(err) // the types are ours
	}
	open(s)
	for name, description := range describe {
		s.Properties[name].Description = description
	}
	return s
}

// open lets an object have further members, and a list be no null.
func open(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	s.AdditionalProperties = nil
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	open(s.Items)
	for _, p := range s.Properties {
		open(p)
	}
}
