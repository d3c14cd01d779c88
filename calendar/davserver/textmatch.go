package davserver

import (
	"net/http"
	"strings"
	"unicode"
)

// Collations that clients may name (RFC 4791, section 7.5).
const (
	asciiCasemap   = "i;ascii-casemap" // the default
	octet          = "i;octet"
	unicodeCasemap = "i;unicode-casemap"
)

// textMatch is a text-match: does a value contain a text (RFC 4791, section 9.7.5)?
type textMatch struct {
	text   string // folded
	fold   func(string) string
	negate bool
}

func parseTextMatch(e *element) (*textMatch, error) {
	m := &textMatch{fold: foldASCII}
	collation, given := e.attr("collation")
	switch {
	case !given, collation == asciiCasemap, collation == "default":
	case collation == octet:
		m.fold = func(s string) string { return s }
	case collation == unicodeCasemap:
		m.fold = foldUnicode
	default:
		return nil, &failure{status: http.StatusForbidden, condition: cal("supported-collation"), text: "The collation is not supported."}
	}
	switch negate, _ := e.attr("negate-condition"); negate {
	case "", "no":
	case "yes":
		m.negate = true
	default:
		return nil, invalidFilter("negate-condition is neither yes nor no")
	}
	m.text = m.fold(e.text())
	return m, nil
}

func (m *textMatch) matches(value string) bool {
	return strings.Contains(m.fold(value), m.text) != m.negate
}

// foldASCII makes the letters of ASCII alike and no others, as the collation has it.
func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func foldUnicode(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, s)
}
