package ical

import "strings"

// Param is a property's parameter with its values, unquoted and with RFC 6868's
// ^-escapes decoded.
type Param struct {
	Name   string // upper case
	Values []string
}

// param is a parameter's place in a line: line[start:end] is ";NAME=values".
type param struct {
	name       string
	start, end int
	value      int // where the values start; end if there is no "="
}

// eachParam calls fn for the parameters between the name's end and the colon.
// Stray text counts as a parameter without values, so that it is kept.
func (p *Property) eachParam(fn func(param) bool) {
	for i := p.nameEnd; i < p.colon; {
		at := param{start: i, value: -1}
		quoted := false
		for i++; i < p.colon && (quoted || p.line[i] != ';'); i++ {
			switch p.line[i] {
			case '"':
				quoted = !quoted
			case '=':
				if at.value < 0 {
					at.value = i + 1
				}
			}
		}
		at.end = i
		if at.value < 0 {
			at.value = i
			at.name = upper(p.line[at.start+1 : i])
		} else {
			at.name = upper(p.line[at.start+1 : at.value-1])
		}
		if !fn(at) {
			return
		}
	}
}

// splitParamValues cuts at commas outside quotes and decodes each part.
func splitParamValues(s string) []string {
	var out []string
	quoted, start := false, 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == ',' && !quoted {
			out = append(out, decodeParam(s[start:i]))
			start = i + 1
		} else if s[i] == '"' {
			quoted = !quoted
		}
	}
	return out
}

// decodeParam takes the quotes off and undoes RFC 6868, section 3.2. An unknown
// ^-escape stands for itself.
func decodeParam(s string) string {
	s = validText(s)
	if strings.IndexByte(s, '"') >= 0 {
		s = strings.ReplaceAll(s, `"`, "")
	}
	if strings.IndexByte(s, '^') < 0 {
		return s
	}
	return paramDecoder.Replace(s)
}

var (
	paramDecoder = strings.NewReplacer("^n", "\n", "^^", "^", "^'", `"`)
	paramEncoder = strings.NewReplacer("\r\n", "^n", "\n", "^n", "\r", "^n", "^", "^^", `"`, "^'")
)

func encodeParam(s string) string {
	s = dropControls(paramEncoder.Replace(validText(s)))
	if strings.ContainsAny(s, ":;,") {
		return `"` + s + `"`
	}
	return s
}

// formatParam returns ";NAME=v1,v2".
func formatParam(name string, values []string) string {
	var b strings.Builder
	b.WriteByte(';')
	b.WriteString(mustName(name))
	b.WriteByte('=')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(encodeParam(v))
	}
	return b.String()
}
