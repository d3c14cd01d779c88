package calmcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// invisible are the characters that a person does not see, or that change how others are
// shown: controls, bidirectional overrides, zero-width characters, tags, fillers. With them
// one text can be shown and another be read by a model.
var invisible = []*unicode.RangeTable{
	unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp,
	unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
}

func isInvisible(r rune) bool {
	if r < 0x80 {
		return r < 0x20 || r == 0x7f
	}
	return unicode.In(r, invisible...)
}

// Marshal is how answers of MCP are written, for others that hold text from calendars: JSON
// in which characters that nobody sees are escapes.
func Marshal(v any) ([]byte, error) { return marshal(v) }

// marshal returns v as compact JSON in which every [invisible] character is an escape.
// Who reads the JSON gets the values as they were.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return escapeInvisible(bytes.TrimRight(b.Bytes(), "\n")), nil
}

// escapeInvisible rewrites a JSON text. Outside of strings JSON is printable ASCII, so
// that every such character stands in a string.
func escapeInvisible(text []byte) []byte {
	var out []byte
	kept := 0 // text[:kept] is in out, if out was begun
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf && c != 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if isInvisible(r) {
			out = append(out, text[kept:i]...)
			out = appendEscape(out, r)
			kept = i + size
		}
		i += size
	}
	if kept == 0 {
		return text
	}
	return append(out, text[kept:]...)
}

func appendEscape(out []byte, r rune) []byte {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(out, `\u%04x`, r)
}

// plain returns a text that is no JSON with the same escapes.
func plain(s string) string {
	var out []byte
	for _, r := range s {
		if isInvisible(r) {
			out = appendEscape(out, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}

// indent lays JSON out as JSON.stringify(value, null, 2) does.
func indent(text []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// clip cuts what is quoted, at a whole character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return cut(s, n) + "..."
}

// cut returns at most the first n bytes of s, whole characters only.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
