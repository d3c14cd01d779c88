package durable

import (
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Values are a version byte and one CBOR item (RFC 8949). Encoder and decoder
// share their limits: what the encoder lets pass is checked against the decoder's
// before it is stored, so that it can be read back for as long as it lies there.

// valueVersion stands before every encoded value: what follows is the CBOR of this package.
const valueVersion = 1

const (
	maxDepth    = 64
	maxElements = 1 << 20 // of one array or map; the size limits are met before
)

var (
	encoder = func() cbor.EncMode {
		o := cbor.CoreDetEncOptions()
		o.Time = cbor.TimeRFC3339Nano // nanoseconds and offset survive
		o.TimeTag = cbor.EncTagRequired
		o.ShortestFloat = cbor.ShortestFloatNone // a NaN's payload survives
		o.NaNConvert = cbor.NaNConvertNone
		o.InfConvert = cbor.InfConvertNone
		o.TextMarshaler = cbor.TextMarshalerTextString
		m, err := o.EncMode()
		if err != nil {
			panic(err)
		}
		return m
	}()
	decoder = func() cbor.DecMode {
		m, err := cbor.DecOptions{
			DupMapKey:        cbor.DupMapKeyEnforcedAPF,
			TimeTag:          cbor.DecTagOptional,
			MaxNestedLevels:  maxDepth,
			MaxArrayElements: maxElements,
			MaxMapPairs:      maxElements,
			IntDec:           cbor.IntDecConvertSignedOrBigInt, // into an any
			TextUnmarshaler:  cbor.TextUnmarshalerTextString,
			DefaultMapType:   reflect.TypeFor[map[string]any](),
			UTF8:             cbor.UTF8RejectInvalid,
		}.DecMode()
		if err != nil {
			panic(err)
		}
		return m
	}()
)

// encode returns the stored form of v.
func encode(v any) ([]byte, error) {
	body, err := marshal(v)
	if err != nil {
		return nil, err
	}
	if err := readsBack(body, v); err != nil {
		return nil, err
	}
	out := make([]byte, 1+len(body))
	out[0] = valueVersion
	copy(out[1:], body)
	return out, nil
}

func marshal(v any) ([]byte, error) {
	if err := checkValue(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncode, err)
	}
	body, err := encoder.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncode, err)
	}
	return body, nil
}

// readsBack reports why item, the encoded form of v, would not be decoded into a variable of v's type.
func readsBack(item []byte, v any) error {
	t := reflect.TypeOf(v)
	if t == nil || isPlain(t) {
		return nil
	}
	if s, ok := v.(string); ok && utf8.ValidString(s) {
		return nil
	}
	return unmarshal(item, reflect.New(t).Interface(), v)
}

func unmarshal(item []byte, into, v any) error {
	if err := decoder.Unmarshal(item, into); err != nil {
		return fmt.Errorf("%w: %T could not be read back: %w", ErrEncode, v, err)
	}
	return nil
}

// decode reads the stored form into v, a pointer. What v points to is set to
// zero before, so that nothing of it mixes with what was stored.
func decode(data []byte, v any) error {
	if len(data) == 0 || data[0] != valueVersion {
		return fmt.Errorf("%w: not written by Put", ErrDecode)
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		p.Elem().SetZero()
	}
	if err := decoder.Unmarshal(data[1:], v); err != nil {
		return fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return nil
}

// checkTarget reports why nothing can be read into v.
func checkTarget(v any) error {
	switch p := reflect.ValueOf(v); {
	case p.Kind() != reflect.Pointer:
		return fmt.Errorf("%w: into %T, which is no pointer", ErrDecode, v)
	case p.IsNil():
		return fmt.Errorf("%w: into a nil %T", ErrDecode, v)
	}
	return nil
}

// isPlain reports whether values of type t are numbers or booleans without
// methods of their own: assigning one is as good as encoding and decoding it.
func isPlain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return t.PkgPath() == ""
	}
	return false
}
