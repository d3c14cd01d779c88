package wrangler

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// kind is what a value is in the file, whatever the file's format.
type kind uint8

const (
	kindTable kind = iota
	kindArray
	kindString
	kindInteger
	kindFloat
	kindBool
	kindNull
	kindDate // TOML only
)

func (k kind) String() string {
	return [...]string{"a table", "a list", "a string", "an integer", "a number", "a boolean", "null", "a date"}[k]
}

// node is a value with the line it stands on. Both formats are read into nodes,
// so that everything behind the parsers knows one shape and every message a line.
type node struct {
	kind    kind
	line    int
	text    string   // a string's value; the source text of other scalars
	members []member // of a table, in the order of the file
	index   map[string]int
	elems   []*node // of an array
}

// member is one key of a table.
type member struct {
	key   string
	line  int
	value *node
	again int // line of a second definition (JSON allows it), or 0
}

// add enters key into the table t; the last definition wins, as in JSON.
func (t *node) add(key string, line int, value *node) {
	if i, ok := t.index[key]; ok {
		t.members[i].value, t.members[i].again = value, line
		return
	}
	if t.index == nil {
		t.index = make(map[string]int)
	}
	t.index[key] = len(t.members)
	t.members = append(t.members, member{key: key, line: line, value: value})
}

// lookup returns the member of that key, or nil; null counts as absent, as
// wrangler treats it.
func (t *node) lookup(key string) *member {
	i, ok := t.index[key]
	if !ok || t.members[i].value.kind == kindNull {
		return nil
	}
	return &t.members[i]
}

func (t *node) keys() []string {
	var keys []string
	for _, m := range t.members {
		keys = append(keys, m.key)
	}
	return keys
}

// json returns the value as JSON text, tables in the order of the file.
func (n *node) json() (string, error) {
	var b strings.Builder
	if err := n.writeJSON(&b); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (n *node) writeJSON(b *strings.Builder) error {
	switch n.kind {
	case kindTable:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, m.key)
			b.WriteByte(':')
			if err := m.value.writeJSON(b); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case kindArray:
		b.WriteByte('[')
		for i, e := range n.elems {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := e.writeJSON(b); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case kindString:
		writeString(b, n.text)
	case kindInteger:
		text, err := integerText(n.text)
		if err != nil {
			return err
		}
		b.WriteString(text)
	case kindFloat:
		text, err := floatText(n.text)
		if err != nil {
			return err
		}
		b.WriteString(text)
	case kindBool, kindNull:
		b.WriteString(n.text)
	case kindDate:
		return fmt.Errorf("a date has no JSON form: put it in quotes")
	}
	return nil
}

// integerText turns TOML's integers (hexadecimal, underscores, plus sign) into
// decimal ones. JSON's integers of any length pass as they are.
func integerText(s string) (string, error) {
	i, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
	if err == nil {
		return strconv.FormatInt(i, 10), nil
	}
	if json.Valid([]byte(s)) {
		return s, nil
	}
	return "", fmt.Errorf("a number is out of range")
}

// floatText writes a number the way JSON.stringify does: 1.0 becomes 1.
func floatText(s string) (string, error) {
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return "", fmt.Errorf("a number has no JSON form: put it in quotes")
	}
	text, err := json.Marshal(f)
	return string(text), err
}

// writeString quotes s without the escapes of encoding/json for HTML.
func writeString(b *strings.Builder, s string) {
	var line strings.Builder
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string always encodes
	b.WriteString(strings.TrimSuffix(line.String(), "\n"))
}
