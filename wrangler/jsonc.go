package wrangler

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
)

// parseJSONC reads JSON with comments and trailing commas. wrangler allows both
// in wrangler.json too, so the two names share this parser.
func parseJSONC(path string, data []byte) (*node, error) {
	// A comment on the last line needs its newline.
	data = append(slices.Clip(data), '\n')
	lines := newLineIndex(data)
	// hujson recurses without a limit, so depth is checked before it runs.
	if at := tooDeepJSON(data); at >= 0 {
		return nil, &Error{Path: path, Line: lines.line(at), Problem: fmt.Sprintf("nested deeper than the limit of %d", maxDepth)}
	}
	v, err := hujson.Parse(data)
	if err != nil {
		return nil, jsonError(path, err)
	}
	if v.Value.Kind() != '{' {
		return nil, &Error{Path: path, Line: lines.line(v.StartOffset), Problem: "the file must hold one object"}
	}
	return jsonNode(v, lines), nil
}

const invalidLiteral = "invalid literal"

// hujson gives the position of an error in its text only.
var jsonPosition = regexp.MustCompile(`^hujson: line (\d+), column (\d+): (?s:(.*))$`)

func jsonError(path string, err error) error {
	m := jsonPosition.FindStringSubmatch(err.Error())
	if m == nil {
		return &Error{Path: path, Problem: clip(err.Error(), 200)}
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	// It also quotes a literal that is wrong, which may be a variable's value.
	problem := m[3]
	if strings.HasPrefix(problem, invalidLiteral) {
		problem = invalidLiteral
	}
	return &Error{Path: path, Line: line, Column: column, Problem: clip(problem, 200)}
}

// tooDeepJSON returns the offset of the bracket that passes maxDepth, or -1. It
// looks over strings and comments; whatever else is wrong is the parser's affair.
func tooDeepJSON(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		case c == '"':
			i = skipTo(data, i+1, "\"")
		case c == '/' && i+1 < len(data) && data[i+1] == '/':
			i = skipTo(data, i+2, "\n")
		case c == '/' && i+1 < len(data) && data[i+1] == '*':
			i = skipTo(data, i+2, "*/")
		}
	}
	return -1
}

// skipTo returns the offset of the last byte of end at or after i. Inside a
// string a backslash hides the byte behind it.
func skipTo(data []byte, i int, end string) int {
	for ; i < len(data); i++ {
		if end == "\"" && data[i] == '\\' {
			i++
			continue
		}
		if i+len(end) <= len(data) && string(data[i:i+len(end)]) == end {
			return i + len(end) - 1
		}
	}
	return i
}

func jsonNode(v hujson.Value, lines *lineIndex) *node {
	n := &node{line: lines.line(v.StartOffset)}
	switch value := v.Value.(type) {
	case *hujson.Object:
		n.kind = kindTable
		for _, m := range value.Members {
			n.add(m.Name.Value.(hujson.Literal).String(), lines.line(m.Name.StartOffset), jsonNode(m.Value, lines))
		}
	case *hujson.Array:
		n.kind = kindArray
		for _, e := range value.Elements {
			n.elems = append(n.elems, jsonNode(e, lines))
		}
	case hujson.Literal:
		n.kind, n.text = jsonLiteral(value)
	}
	return n
}

func jsonLiteral(l hujson.Literal) (kind, string) {
	switch l.Kind() {
	case '"':
		return kindString, l.String()
	case 't', 'f':
		return kindBool, string(l)
	case 'n':
		return kindNull, string(l)
	}
	for _, c := range l {
		if c == '.' || c == 'e' || c == 'E' {
			return kindFloat, string(l)
		}
	}
	return kindInteger, string(l)
}
