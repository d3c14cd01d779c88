package jsonvalue

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may be nested. Common readers of JSON
// end at about 1,000 levels, and what is accepted here must be readable there.
const MaxDepth = 512

// ErrTooDeep is returned by [Parse] for a text nested deeper than [MaxDepth].
var ErrTooDeep = errors.New("jsonvalue: nested too deeply")

// SyntaxError is returned by [Parse] for a text that is not JSON.
type SyntaxError struct {
	Offset int  // bytes before what was not expected
	End    bool // the text ended too early
}

func (e *SyntaxError) Error() string {
	if e.End {
		return "jsonvalue: unexpected end of JSON"
	}
	return fmt.Sprintf("jsonvalue: unexpected character at byte %d", e.Offset)
}

// Parse returns the one JSON value (RFC 8259) that text holds. It does not keep
// or change text.
//
// As a browser's Response.json does, it skips a byte order mark and replaces
// what is not UTF-8 by U+FFFD; of several members with one name it keeps the
// first one's place and the last one's value. Everything else stays as it is.
// It returns a [*SyntaxError] or [ErrTooDeep].
func Parse(text []byte) (Value, error) {
	if !utf8.Valid(text) {
		text = []byte(string([]rune(string(text))))
	}
	p := &parser{in: text, out: make([]byte, 0, len(text))}
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		p.pos = len("\ufeff")
	}
	p.space()
	if err := p.value(0); err != nil {
		return nil, err
	}
	p.space()
	if p.pos < len(p.in) {
		return nil, p.unexpected()
	}
	return p.united(), nil
}

// parser copies tokens from in to out. It recurses, bounded by MaxDepth.
type parser struct {
	in  []byte
	pos int
	out []byte

	spans   []span // the members so far of the objects that are open
	repeats []repeat
}

func (p *parser) unexpected() error {
	return &SyntaxError{Offset: p.pos, End: p.pos >= len(p.in)}
}

// peek returns the next byte, and 0, which is no JSON, at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.in) {
		return p.in[p.pos]
	}
	return 0
}

func (p *parser) space() {
	for p.pos < len(p.in) {
		switch p.in[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// take copies the byte c if it is the next one.
func (p *parser) take(c byte) bool {
	if p.peek() != c || p.pos >= len(p.in) {
		return false
	}
	p.out = append(p.out, c)
	p.pos++
	return true
}

func (p *parser) value(depth int) error {
	switch c := p.peek(); c {
	case '{', '[':
		if depth == MaxDepth {
			return ErrTooDeep
		}
		if c == '[' {
			return p.array(depth + 1)
		}
		return p.object(depth + 1)
	case '"':
		return p.string()
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	}
	return p.number()
}

func (p *parser) array(depth int) error {
	p.take('[')
	p.space()
	if p.take(']') {
		return nil
	}
	for {
		if err := p.value(depth); err != nil {
			return err
		}
		p.space()
		if p.take(']') {
			return nil
		}
		if !p.take(',') {
			return p.unexpected()
		}
		p.space()
	}
}

func (p *parser) object(depth int) error {
	base, start := len(p.spans), len(p.out)
	p.take('{')
	p.space()
	if p.take('}') {
		return nil
	}
	for {
		if p.peek() != '"' {
			return p.unexpected()
		}
		s := span{name: len(p.out)}
		if err := p.string(); err != nil {
			return err
		}
		p.space()
		s.colon = len(p.out)
		if !p.take(':') {
			return p.unexpected()
		}
		p.space()
		s.value = len(p.out)
		if err := p.value(depth); err != nil {
			return err
		}
		s.end = len(p.out)
		p.spans = append(p.spans, s)
		p.space()
		if p.take('}') {
			p.noteRepeats(start, p.spans[base:])
			p.spans = p.spans[:base]
			return nil
		}
		if !p.take(',') {
			return p.unexpected()
		}
		p.space()
	}
}

func (p *parser) word(w string) error {
	for i := range len(w) {
		if !p.take(w[i]) {
			return p.unexpected()
		}
	}
	return nil
}

func (p *parser) string() error {
	p.take('"')
	for !p.take('"') {
		c := p.peek()
		if c < 0x20 { // a control character, or the end
			return p.unexpected()
		}
		p.take(c)
		if c == '\\' {
			if err := p.escape(); err != nil {
				return err
			}
		}
	}
	return nil
}

// escape copies what follows a backslash.
func (p *parser) escape() error {
	if !p.take('u') {
		c := p.peek()
		if int(c) >= len(unescaped) || unescaped[c] == 0 {
			return p.unexpected()
		}
		p.take(c)
		return nil
	}
	for range 4 {
		c := p.peek()
		if !isDigit(c) && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return p.unexpected()
		}
		p.take(c)
	}
	return nil
}

func (p *parser) number() error {
	p.take('-')
	if !p.take('0') {
		if err := p.digits(); err != nil {
			return err
		}
	}
	if p.take('.') {
		if err := p.digits(); err != nil {
			return err
		}
	}
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		return p.digits()
	}
	return nil
}

// digits copies one digit or more.
func (p *parser) digits() error {
	if !isDigit(p.peek()) {
		return p.unexpected()
	}
	for isDigit(p.peek()) {
		p.take(p.peek())
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
