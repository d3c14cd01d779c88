package durable

import (
	"encoding"
	"fmt"
	"math/big"
	"reflect"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The encoder takes some values that it should not: a value that contains itself
// would never end, a struct without exported fields would lose all it has, and a
// time whose offset has seconds would become another moment. checkValue finds
// these. What of it a type alone decides is remembered by type.

// maxWalk bounds the descent into a value: pointers count here, other than for maxDepth.
const maxWalk = 4 * maxDepth

// A shape is what is known of all values of a type.
type shape struct {
	walk bool  // the value must be looked at: it has times, or may be of any depth
	err  error // no value can be stored
}

var shapes sync.Map // reflect.Type -> shape

// checkValue reports why v cannot be stored, as far as the encoder would not notice.
func checkValue(v any) error {
	t := reflect.TypeOf(v)
	if t == nil || isPlain(t) || t.Kind() == reflect.String {
		return nil
	}
	return checkPart(reflect.ValueOf(v), 0)
}

func shapeOf(t reflect.Type) shape {
	if s, ok := shapes.Load(t); ok {
		return s.(shape)
	}
	s := newShape(t, make(map[reflect.Type]bool))
	shapes.Store(t, s)
	return s
}

// newShape works out the shape of t; above are the types that it is part of.
func newShape(t reflect.Type, above map[reflect.Type]bool) shape {
	switch {
	case t == typeTime || t.Kind() == reflect.Interface || above[t]:
		return shape{walk: true}
	case encodesItself(t):
		return shape{}
	}
	above[t] = true
	defer delete(above, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return newShape(t.Elem(), above)
	case reflect.Map:
		k, e := newShape(t.Key(), above), newShape(t.Elem(), above)
		return k.or(e)
	case reflect.Struct:
		s, stored := fieldsShape(t, above)
		if stored == 0 && t.NumField() > 0 {
			s.err = fmt.Errorf("%s has no exported fields", t)
		}
		return s
	}
	return shape{}
}

// fieldsShape returns what is known of the fields of a struct, and how many are stored.
func fieldsShape(t reflect.Type, above map[reflect.Type]bool) (s shape, stored int) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case !isStored(f):
		case f.Anonymous && f.Type.Kind() == reflect.Struct && !encodesItself(f.Type) && f.Type != typeTime:
			in, n := fieldsShape(f.Type, above) // its fields count as ours
			s, stored = s.or(in), stored+n
		default:
			s, stored = s.or(newShape(f.Type, above)), stored+1
		}
	}
	return s, stored
}

func (s shape) or(other shape) shape {
	if s.err == nil {
		s.err = other.err
	}
	s.walk = s.walk || other.walk
	return s
}

func isStored(f reflect.StructField) bool {
	if f.Tag.Get("cbor") == "-" || f.Tag.Get("json") == "-" && f.Tag.Get("cbor") == "" {
		return false
	}
	return f.IsExported() || (f.Anonymous && f.Type.Kind() == reflect.Struct)
}

var (
	typeTime   = reflect.TypeFor[time.Time]()
	typeBigInt = reflect.TypeFor[big.Int]()
	typeCBOR   = reflect.TypeFor[cbor.Tag]()
)

// encodesItself reports whether the encoder does not look into values of type t.
func encodesItself(t reflect.Type) bool {
	if t == typeBigInt || t.PkgPath() == typeCBOR.PkgPath() {
		return true
	}
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[cbor.Marshaler]()) ||
		p.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) ||
		p.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func checkPart(v reflect.Value, depth int) error {
	if depth > maxWalk {
		return fmt.Errorf("%s is nested deeper than %d", v.Type(), maxDepth)
	}
	s := shapeOf(v.Type())
	if s.err != nil || !s.walk {
		return s.err
	}
	if v.Type() == typeTime {
		if _, offset := v.Interface().(time.Time).Zone(); offset%60 != 0 {
			return fmt.Errorf("a time whose offset from UTC is not whole minutes (%v): use Time.UTC", time.Duration(offset)*time.Second)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return checkPart(v.Elem(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkPart(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := checkPart(it.Key(), depth+1); err != nil {
				return err
			}
			if err := checkPart(it.Value(), depth+1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return checkFields(v, depth)
	}
	return nil
}

func checkFields(v reflect.Value, depth int) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !isStored(f) {
			continue
		}
		check := checkPart
		if f.Anonymous && f.Type.Kind() == reflect.Struct && !encodesItself(f.Type) && f.Type != typeTime {
			check = checkFields
		}
		if err := check(v.Field(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}
