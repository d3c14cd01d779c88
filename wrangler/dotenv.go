package wrangler

import (
	"bytes"
	"fmt"
	"strings"
)

// The dialect is that of the npm package dotenv, which wrangler reads these files
// with, so that a file means the same in both:
//
//	NAME=value          up to the end of the line or a #, without spaces around it
//	NAME: value         the same
//	export NAME=value   the same
//	NAME="value"        may span lines; \n and \r are line ends, other backslashes stay
//	NAME='value'        may span lines; nothing is special inside
//	NAME=`value`        the same
//	# comment           also after a value
//
// A name that stands twice has its last value. Nothing is expanded: a $ in a
// password is a $. The common Go packages for this are not used: they expand, and
// their errors quote the line, secret included.
//
// Lines that dotenv skips because it can't read them are errors here.

// LoadVars reads a file of variables such as .dev.vars or .env. A file that is
// not there is fs.ErrNotExist; a line that can't be read is an [*Error] that
// never shows a value.
func LoadVars(path string) (map[string]string, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseVars(path, data)
}

func parseVars(path string, data []byte) (map[string]string, error) {
	data, err := checkText(path, data)
	if err != nil {
		return nil, err
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	r := &varsReader{rest: string(data), line: 1}
	vars := make(map[string]string)
	for r.skipBlank() {
		name, value, problem := r.variable()
		if problem == "" && len(vars) == maxItems {
			problem = fmt.Sprintf("file has more than the limit of %d variables", maxItems)
		}
		if problem != "" {
			return nil, &Error{Path: path, Line: r.line, Problem: problem}
		}
		vars[name] = value
		r.advance(r.used)
	}
	return vars, nil
}

// varsReader stands at the start of a line.
type varsReader struct {
	rest string
	line int
	used int // bytes of rest that the last variable took
}

func (r *varsReader) advance(n int) {
	r.line += strings.Count(r.rest[:n], "\n")
	r.rest = r.rest[n:]
}

// skipBlank moves to the next line with a variable and reports whether there is one.
func (r *varsReader) skipBlank() bool {
	for {
		r.advance(len(r.rest) - len(strings.TrimLeft(r.rest, " \t\n\v\f")))
		if !strings.HasPrefix(r.rest, "#") {
			return r.rest != ""
		}
		r.advance(lineEnd(r.rest))
	}
}

// variable reads name and value, or says what is wrong in words that can be shown.
func (r *varsReader) variable() (name, value, problem string) {
	line := r.rest[:lineEnd(r.rest)]
	head := line
	if after, ok := strings.CutPrefix(head, "export"); ok && strings.TrimLeft(after, " \t") != after {
		head = strings.TrimLeft(after, " \t")
	}
	name = head[:len(head)-len(strings.TrimLeftFunc(head, isNameRune))]
	if name == "" {
		return "", "", "want NAME=value"
	}
	if len(name) > maxName {
		return "", "", fmt.Sprintf("a name is longer than the limit of %d bytes", maxName)
	}
	text, ok := afterSign(head[len(name):])
	if !ok {
		// What looks like a name may be a secret whose name was forgotten.
		return "", "", "want NAME=value, but there is no = after the name"
	}
	text = strings.TrimLeft(text, " \t")
	start := len(line) - len(text)
	if text == "" || !strings.ContainsRune("'\"`", rune(text[0])) {
		r.used = len(line)
		text, _, _ = strings.Cut(text, "#")
		return name, strings.TrimSpace(text), ""
	}
	value, end := quotedValue(r.rest[start:])
	if end < 0 {
		return "", "", fmt.Sprintf("the value of %s opens with a quote, but no such quote ends it at the end of a line", name)
	}
	r.used = start + end
	r.used += lineEnd(r.rest[r.used:])
	return name, value, ""
}

var lineEscapes = strings.NewReplacer(`\n`, "\n", `\r`, "\r")

// afterSign returns what follows the = or the colon and space behind a name.
func afterSign(s string) (string, bool) {
	if text, ok := strings.CutPrefix(strings.TrimLeft(s, " \t"), "="); ok {
		return text, true
	}
	text, ok := strings.CutPrefix(s, ":")
	return text, ok && strings.TrimLeft(text, " \t") != text
}

// quotedValue reads the value that s opens and returns where it ends, or -1. A
// quote behind a backslash does not end the value, unless no other does: dotenv
// reads "C:\" this way.
func quotedValue(s string) (string, int) {
	quote := s[0]
	for end := closing(s); end > 0; end = strings.LastIndexByte(s[:end], quote) {
		if !endsLine(s[end+1:]) {
			continue
		}
		value := s[1:end]
		if quote == '"' {
			value = lineEscapes.Replace(value)
		}
		return value, end + 1
	}
	return "", -1
}

// closing returns the offset of the first quote after the opening one that has no
// backslash before it, else of the last quote there is, which may be the opening
// one itself.
func closing(s string) int {
	last := 0
	for i := 1; i < len(s); i++ {
		if s[i] != s[0] {
			continue
		}
		if last = i; s[i-1] != '\\' {
			break
		}
	}
	return last
}

func endsLine(s string) bool {
	s = strings.TrimLeft(s, " \t")
	return s == "" || s[0] == '\n' || s[0] == '#'
}

func lineEnd(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i
	}
	return len(s)
}

func isNameRune(r rune) bool {
	return r == '_' || r == '.' || r == '-' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}
