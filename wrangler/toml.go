package wrangler

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML reads a TOML document twice. The decoder of go-toml checks it,
// duplicate keys and dates included, but forgets where things stood. Its parser
// knows the positions, but checks no meaning. The tree is built in the second
// pass, from a document that is known to be valid.
func parseTOML(path string, data []byte) (*node, error) {
	if tooManyKeys(data) {
		return nil, &Error{Path: path, Problem: fmt.Sprintf("file has more than the limit of %d keys", maxKeys)}
	}
	if err := checkTOML(path, data); err != nil {
		return nil, err
	}
	b := &tomlBuilder{path: path, lines: newLineIndex(data), root: &node{kind: kindTable, line: 1}}
	b.parser.Reset(data)
	table, depth := b.root, 1
	for b.parser.NextExpression() {
		e := b.parser.Expression()
		var err error
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, depth, err = b.open(e)
		case unstable.KeyValue:
			err = b.assign(table, e, depth)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, &Error{Path: path, Problem: clip(err.Error(), 200)}
	}
	return b.root, nil
}

// maxKeys bounds the keys of a TOML file, [table] headers included. go-toml looks
// each of them up among all before it: 80,000 in one megabyte took half a minute.
const maxKeys = 10_000

func tooManyKeys(data []byte) bool {
	var p unstable.Parser
	p.Reset(data)
	keys := 0
	for keys <= maxKeys && p.NextExpression() {
		keys += countKeys(p.Expression())
	}
	return keys > maxKeys // what can't be parsed is reported by checkTOML
}

// countKeys counts the parts of all keys in n.
func countKeys(n *unstable.Node) int {
	keys := 0
	for it := n.Children(); it.Next(); {
		if it.Node().Kind == unstable.Key {
			keys++
		} else {
			keys += countKeys(it.Node())
		}
	}
	return keys
}

func checkTOML(path string, data []byte) error {
	var doc map[string]any
	err := toml.Unmarshal(data, &doc)
	if err == nil {
		return nil
	}
	e := &Error{Path: path, Problem: clip(strings.TrimPrefix(err.Error(), "toml: "), 200)}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		e.Line, e.Column = at.Position()
	}
	return e
}

type tomlBuilder struct {
	path   string
	parser unstable.Parser
	lines  *lineIndex
	root   *node
}

func (b *tomlBuilder) lineOf(n *unstable.Node) int {
	return b.lines.line(int(n.Raw.Offset))
}

func (b *tomlBuilder) tooDeep(line int) error {
	return &Error{Path: b.path, Line: line, Problem: fmt.Sprintf("nested deeper than the limit of %d", maxDepth)}
}

// open follows a [table] or [[array table]] header from the root.
func (b *tomlBuilder) open(e *unstable.Node) (*node, int, error) {
	table, depth := b.root, 1
	for it := e.Key(); it.Next(); {
		key, line := string(it.Node().Data), b.lineOf(it.Node())
		if depth++; depth > maxDepth {
			return nil, 0, b.tooDeep(line)
		}
		if e.Kind == unstable.ArrayTable && it.IsLast() {
			table = b.appendTable(table, key, line)
			continue
		}
		table = b.child(table, key, line)
	}
	return table, depth, nil
}

// child returns the table under key, making it if it is new. Under an array of
// tables the last one is meant.
func (b *tomlBuilder) child(table *node, key string, line int) *node {
	if i, ok := table.index[key]; ok {
		v := table.members[i].value
		if v.kind == kindArray && len(v.elems) > 0 {
			v = v.elems[len(v.elems)-1]
		}
		return v
	}
	v := &node{kind: kindTable, line: line}
	table.add(key, line, v)
	return v
}

func (b *tomlBuilder) appendTable(table *node, key string, line int) *node {
	v := &node{kind: kindTable, line: line}
	if i, ok := table.index[key]; ok {
		list := table.members[i].value
		list.elems = append(list.elems, v)
		return v
	}
	table.add(key, line, &node{kind: kindArray, line: line, elems: []*node{v}})
	return v
}

// assign enters a key = value expression, whose key may have dots, into table.
func (b *tomlBuilder) assign(table *node, e *unstable.Node, depth int) error {
	for it := e.Key(); it.Next(); {
		key, line := string(it.Node().Data), b.lineOf(it.Node())
		if !it.IsLast() {
			if depth++; depth > maxDepth {
				return b.tooDeep(line)
			}
			table = b.child(table, key, line)
			continue
		}
		v, err := b.value(e.Value(), line, depth)
		if err != nil {
			return err
		}
		table.add(key, line, v)
	}
	return nil
}

var tomlKinds = map[unstable.Kind]kind{
	unstable.InlineTable:   kindTable,
	unstable.Array:         kindArray,
	unstable.String:        kindString,
	unstable.Integer:       kindInteger,
	unstable.Float:         kindFloat,
	unstable.Bool:          kindBool,
	unstable.LocalDate:     kindDate,
	unstable.LocalTime:     kindDate,
	unstable.LocalDateTime: kindDate,
	unstable.DateTime:      kindDate,
}

// value converts a value that stands in depth tables and arrays; line is that of
// its key, for arrays, of which the parser keeps no position.
func (b *tomlBuilder) value(e *unstable.Node, line, depth int) (*node, error) {
	n := &node{kind: tomlKinds[e.Kind], line: line}
	if e.Kind != unstable.Array {
		n.line = b.lineOf(e)
	}
	if n.kind != kindTable && n.kind != kindArray {
		n.text = string(e.Data)
		return n, nil
	}
	if depth++; depth > maxDepth {
		return nil, b.tooDeep(n.line)
	}
	for it := e.Children(); it.Next(); {
		var err error
		switch n.kind {
		case kindTable:
			err = b.assign(n, it.Node(), depth)
		case kindArray:
			var elem *node
			elem, err = b.value(it.Node(), n.line, depth)
			n.elems = append(n.elems, elem)
		}
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}
