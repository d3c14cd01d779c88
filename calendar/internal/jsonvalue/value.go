// Package jsonvalue keeps JSON as it was sent. A [Value] is the text of one
// JSON value: numbers and strings as the client wrote them, members in the
// client's order, and only the white space between tokens removed.
//
// encoding/json loses what this package keeps: a number becomes a float64 or is
// separated from its context, the order of members is gone, and a lone surrogate
// ("\ud800") is replaced.
package jsonvalue

import "bytes"

// Value is the compact text of a valid JSON value, as [Parse] returns it. No
// object in it has two members of the same name. A Value is not to be changed.
type Value []byte

// Kind is the type of a JSON value: the byte its text begins with, where every
// number is '0'.
type Kind byte

// The kinds of JSON values.
const (
	Object Kind = '{'
	Array  Kind = '['
	String Kind = '"'
	Number Kind = '0'
	True   Kind = 't'
	False  Kind = 'f'
	Null   Kind = 'n'
)

// Kind returns the kind of v; 0 for a Value that is empty.
func (v Value) Kind() Kind {
	if len(v) == 0 {
		return 0
	}
	if c := v[0]; c != '-' && (c < '0' || c > '9') {
		return Kind(c)
	}
	return Number
}

// Text returns what the JSON string v stands for, and false if v is not a
// string. A lone surrogate becomes its three bytes of generalized UTF-8, so
// different strings have different texts.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return unquote(v), true
}

// Member is a member of an object. Both parts are texts within the object's own.
type Member struct {
	Name  Value // a JSON string
	Value Value
}

// Members returns the members of the object v in their order, and nil if v is
// no object.
func (v Value) Members() []Member {
	if v.Kind() != Object {
		return nil
	}
	var members []Member
	for i := 1; v[i] != '}'; {
		if v[i] == ',' {
			i++
		}
		colon := v.end(i)
		end := v.end(colon + 1)
		members = append(members, Member{Name: v[i:colon:colon], Value: v[colon+1 : end : end]})
		i = end
	}
	return members
}

// end returns where the value that begins at i ends.
func (v Value) end(i int) int {
	for depth := 0; ; {
		switch v[i] {
		case '"':
			i = stringEnd(v, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':':
			i++
		default: // a number or a word
			if n := bytes.IndexAny(v[i:], ",]}"); n >= 0 {
				i += n
			} else {
				i = len(v)
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// stringEnd returns where the string that begins at i ends.
func stringEnd(v Value, i int) int {
	for i++; v[i] != '"'; i++ {
		if v[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// Merge returns the object a with the members of the object b laid over it: a
// member that a has too keeps its place and takes b's value, the others follow
// in b's order. It is JavaScript's {...a, ...b}.
func Merge(a, b Value) Value {
	return appendObject(make([]byte, 0, len(a)+len(b)), overlay(a.Members(), b.Members()))
}

// overlay assigns members one after the other, as to an object that has those of base.
func overlay(base, members []Member) []Member {
	index := make(map[string]int, len(base)+len(members))
	for i, m := range base {
		index[unquote(m.Name)] = i
	}
	for _, m := range members {
		name := unquote(m.Name)
		if i, ok := index[name]; ok {
			base[i].Value = m.Value
			continue
		}
		index[name] = len(base)
		base = append(base, m)
	}
	return base
}

func appendObject(out []byte, members []Member) []byte {
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, m.Name...)
		out = append(out, ':')
		out = append(out, m.Value...)
	}
	return append(out, '}')
}
