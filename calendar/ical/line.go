package ical

import (
	"strings"
	"unicode/utf8"
)

// foldAt is the longest line that is written, in octets without the line break
// (RFC 5545, section 3.1).
const foldAt = 75

// scanner cuts input into content lines: each with the lines that continue it
// (those that start with a space or a tab).
type scanner struct {
	data string
	pos  int
	line int // number of the physical line at pos, from 1
}

// next returns a line as it was written, with folding and line breaks, and
// unfolded without them. Lines end with CRLF or LF; a CR elsewhere is content.
// An unfolded line shares the input's memory unless it was folded.
func (s *scanner) next() (raw, text string, ok bool) {
	if s.pos >= len(s.data) {
		return "", "", false
	}
	start := s.pos
	first := s.physical()
	if !s.continued() {
		return s.data[start:s.pos], first, true
	}
	// Octets are joined before anything looks at characters: a fold may split a
	// UTF-8 sequence.
	var b strings.Builder
	b.WriteString(first)
	for s.continued() {
		b.WriteString(s.physical()[1:])
	}
	return s.data[start:s.pos], b.String(), true
}

func (s *scanner) continued() bool {
	return s.pos < len(s.data) && (s.data[s.pos] == ' ' || s.data[s.pos] == '\t')
}

// physical takes one line and returns it without its line break.
func (s *scanner) physical() string {
	rest := s.data[s.pos:]
	s.line++
	i := strings.IndexByte(rest, '\n')
	if i < 0 {
		s.pos = len(s.data)
	} else {
		s.pos += i + 1
		rest = rest[:i]
	}
	// Some software writes CR CR LF, and a last line may end in a lone CR.
	// A continuation of nothing but its space keeps that space.
	for len(rest) > 1 && rest[len(rest)-1] == '\r' {
		rest = rest[:len(rest)-1]
	}
	if rest == "\r" {
		return ""
	}
	return rest
}

// appendFolded appends a line, folded, each part ended by eol. It cuts between
// characters where the text is UTF-8 and between octets where it is not.
func appendFolded(dst []byte, line, eol string) []byte {
	room := foldAt
	for len(line) > room {
		cut := room
		for cut > room-utf8.UTFMax && !utf8.RuneStart(line[cut]) {
			cut--
		}
		if !utf8.RuneStart(line[cut]) {
			cut = room // a run of stray continuation octets
		}
		dst = append(dst, line[:cut]...)
		dst = append(dst, eol...)
		dst = append(dst, ' ')
		line = line[cut:]
		room = foldAt - 1 // the space counts
	}
	dst = append(dst, line...)
	return append(dst, eol...)
}
