package ical

import (
	"strings"
	"unicode/utf8"
)

// EscapeText writes a TEXT value (RFC 5545, section 3.3.11): backslash,
// semicolon, comma and line breaks are escaped; other control characters, which
// no value may contain, are left out. What is not UTF-8 is read as Latin-1.
func EscapeText(s string) string {
	s = validText(s)
	if !strings.ContainsFunc(s, func(r rune) bool {
		return r == '\\' || r == ';' || r == ',' || isControl(r)
	}) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for _, r := range s {
		switch {
		case r == '\\' || r == ';' || r == ',':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n' || r == '\r':
			b.WriteString(`\n`)
		case !isControl(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// UnescapeText reads a TEXT value. An unknown escape stands for itself,
// backslash included: what was meant can't be known. What is not UTF-8 is read
// as Latin-1.
func UnescapeText(s string) string {
	s = validText(s)
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n', 'N':
			b.WriteByte('\n')
		case '\\', ';', ',':
			b.WriteByte(s[i])
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// SplitList cuts a value at the commas that are not escaped. The parts are still
// escaped. An empty value has no parts.
func SplitList(value string) []string {
	if value == "" {
		return nil
	}
	var parts []string
	start := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case ',':
			parts = append(parts, value[start:i])
			start = i + 1
		}
	}
	return append(parts, value[start:])
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// dropControls keeps a raw value on its line: with a line break in it, a value
// could smuggle in properties of its own.
func dropControls(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if !isControl(rune(s[i])) {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// validText returns s as UTF-8. Files that are not UTF-8 are Latin-1 in practice,
// and every octet is a character there.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			r = rune(s[i])
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}
