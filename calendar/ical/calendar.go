package ical

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Calendar is a VCALENDAR with whatever stood around it in its file. Its
// component is the first VCALENDAR of the file; a second one is kept in the
// bytes and reported as a warning.
type Calendar struct {
	*Component
	stream   *Component // nameless: everything at the top
	bom      bool
	eol      string
	warnings []Warning
}

// Warning tells of something in the input that is not iCalendar but was kept.
type Warning struct {
	Line int // physical line, from 1
	Text string
}

func (w Warning) String() string { return fmt.Sprintf("line %d: %s", w.Line, w.Text) }

// maxWarnings bounds what a hostile file can make us say.
const maxWarnings = 100

const byteOrderMark = "\ufeff"

// New makes a calendar with VERSION and PRODID and nothing else.
func New(prodID string) *Calendar {
	v := NewComponent("VCALENDAR")
	v.Add(NewProperty("VERSION", "2.0"))
	v.Add(NewProperty("PRODID", EscapeText(prodID)))
	return &Calendar{Component: v, stream: &Component{nodes: []node{{comp: v}}}, eol: "\r\n"}
}

// Parse reads a file. It keeps everything: [Calendar.Bytes] of a calendar that
// was not changed is the input, octet for octet. Lines that are no properties,
// an END without BEGIN, a BEGIN without END, bytes that are not UTF-8 are kept
// and reported by [Calendar.Warnings].
//
// The data is copied. Errors: ErrNotCalendar, *LimitError. A nil *Limits stands
// for the defaults.
func Parse(data []byte, limits *Limits) (*Calendar, error) {
	lim := limits.withDefaults()
	if err := over("size", len(data), lim.Size); err != nil {
		return nil, err
	}
	p := parser{lim: lim, cal: &Calendar{stream: &Component{}, eol: "\r\n"}}
	text, bom := strings.CutPrefix(string(data), byteOrderMark)
	p.cal.bom = bom
	if i := strings.IndexByte(text, '\n'); i >= 0 && (i == 0 || text[i-1] != '\r') {
		p.cal.eol = "\n"
	}
	p.open = []*Component{p.cal.stream}
	if err := p.run(&scanner{data: text}); err != nil {
		return nil, err
	}
	for _, v := range p.cal.stream.Components("VCALENDAR") {
		if p.cal.Component == nil {
			p.cal.Component = v
		} else {
			p.warn(0, "more than one VCALENDAR; the first is used")
		}
	}
	if p.cal.Component == nil {
		return nil, ErrNotCalendar
	}
	return p.cal, nil
}

// Bytes returns the file: lines that were not changed as they were read, others
// folded, with the line break that the file's first line has.
func (c *Calendar) Bytes() []byte {
	w := writer{eol: c.eol}
	if c.bom {
		w.out = append(w.out, byteOrderMark...)
		w.bom = len(w.out)
	}
	w.component(c.stream)
	return w.out
}

// Warnings returns what was wrong with the input, the first hundred at most.
func (c *Calendar) Warnings() []Warning { return c.warnings }

// Clone returns a copy that can be changed on its own.
func (c *Calendar) Clone() *Calendar {
	d := *c
	d.stream = c.stream.Clone()
	d.Component = d.stream.Components("VCALENDAR")[0]
	return &d
}

// parser builds the tree.
type parser struct {
	lim         Limits
	cal         *Calendar
	open        []*Component // the stream, and what has begun and not ended
	props, comp int
	slab        []Property
}

func (p *parser) warn(line int, text string) {
	if len(p.cal.warnings) < maxWarnings {
		p.cal.warnings = append(p.cal.warnings, Warning{line, text})
	}
}

func (p *parser) run(s *scanner) error {
	for {
		no := s.line + 1
		raw, text, ok := s.next()
		if !ok {
			break
		}
		if err := over(fmt.Sprintf("length of line %d", no), len(raw), p.lim.Line); err != nil {
			return err
		}
		if !utf8.ValidString(text) {
			p.warn(no, "not UTF-8")
		}
		if err := p.take(no, raw, text); err != nil {
			return err
		}
	}
	for _, c := range p.open[1:] {
		p.warn(s.line, "no END:"+c.name)
	}
	return nil
}

func (p *parser) take(no int, raw, text string) error {
	prop := p.alloc()
	prop.parse(raw, text)
	top := p.open[len(p.open)-1]
	switch prop.name {
	case "BEGIN":
		name := upper(strings.TrimSpace(prop.Value()))
		if !isToken(name) {
			break
		}
		p.comp++
		if err := over("number of components", p.comp, p.lim.Components); err != nil {
			return err
		}
		if err := over("depth of components", len(p.open), p.lim.Depth); err != nil {
			return err
		}
		c := &Component{name: name, begin: raw}
		top.AddComponent(c)
		p.open = append(p.open, c)
		return nil
	case "END":
		if p.close(no, upper(strings.TrimSpace(prop.Value())), raw) {
			return nil
		}
	}
	p.props++
	if err := over("number of properties", p.props, p.lim.Properties); err != nil {
		return err
	}
	if prop.name == "BEGIN" || prop.name == "END" {
		prop.name = "" // stays a line, is no property
	}
	if prop.name == "" && strings.TrimSpace(text) != "" {
		p.warn(no, "not a property")
	}
	top.nodes = append(top.nodes, node{prop: prop})
	return nil
}

// close ends the innermost open component of that name, and with it those inside
// that were left open.
func (p *parser) close(no int, name, raw string) bool {
	for i := len(p.open) - 1; i > 0; i-- {
		if p.open[i].name != name {
			continue
		}
		for _, c := range p.open[i+1:] {
			p.warn(no, "no END:"+c.name)
		}
		p.open[i].end = raw
		p.open = p.open[:i]
		return true
	}
	return false
}

// alloc takes properties from blocks: a calendar has many.
func (p *parser) alloc() *Property {
	if len(p.slab) == 0 {
		p.slab = make([]Property, 32)
	}
	prop := &p.slab[0]
	p.slab = p.slab[1:]
	return prop
}
