package ical

import (
	"slices"
	"strings"
)

// Component is a block from BEGIN to END: lines and further components in the order in
// which they are written.
//
// Reading may be done by several goroutines at once, changing by one that is
// alone. A component belongs to one parent at most.
type Component struct {
	name       string // upper case; "" for the stream around a VCALENDAR
	begin, end string // as read, with line breaks; end may be missing
	made       bool   // made here: begin and end are written anew
	nodes      []node
}

// node is a line or a component; one of the two is set.
type node struct {
	prop *Property
	comp *Component
}

// NewComponent makes an empty component. It panics on a bad name, as
// [NewProperty] does.
func NewComponent(name string) *Component {
	return &Component{name: mustName(name), made: true}
}

// Name returns the name in upper case: "VEVENT".
func (c *Component) Name() string { return c.name }

// Property returns the first property of that name, nil if there is none.
func (c *Component) Property(name string) *Property {
	for _, n := range c.nodes {
		if n.prop != nil && strings.EqualFold(n.prop.name, name) {
			return n.prop
		}
	}
	return nil
}

// Properties returns the properties of that name, or all if the name is "",
// in their order. Lines that are no properties are never among them.
func (c *Component) Properties(name string) []*Property {
	var out []*Property
	for _, n := range c.nodes {
		if n.prop != nil && n.prop.name != "" && (name == "" || strings.EqualFold(n.prop.name, name)) {
			out = append(out, n.prop)
		}
	}
	return out
}

// Components returns the direct children of that name, or all if the name is "".
func (c *Component) Components(name string) []*Component {
	var out []*Component
	for _, n := range c.nodes {
		if n.comp != nil && (name == "" || strings.EqualFold(n.comp.name, name)) {
			out = append(out, n.comp)
		}
	}
	return out
}

// Text returns the first property of that name as TEXT, "" if there is none.
func (c *Component) Text(name string) string {
	if p := c.Property(name); p != nil {
		return p.Text()
	}
	return ""
}

// TextList returns the values of all properties of that name as one list:
// CATEGORIES may be one line or several.
func (c *Component) TextList(name string) []string {
	var out []string
	for _, p := range c.Properties(name) {
		out = append(out, p.TextList()...)
	}
	return out
}

// Time returns the first property of that name as a DATE or DATE-TIME.
// The error is ErrNoProperty or a *ValueError.
func (c *Component) Time(name string) (Time, error) {
	if p := c.Property(name); p != nil {
		return p.Time()
	}
	return Time{}, ErrNoProperty
}

// Duration returns the first property of that name as a DURATION.
// The error is ErrNoProperty or a *ValueError.
func (c *Component) Duration(name string) (Duration, error) {
	if p := c.Property(name); p != nil {
		return p.Duration()
	}
	return Duration{}, ErrNoProperty
}

// one returns the only property of that name: the first, made if there is none.
// Further ones are removed.
func (c *Component) one(name string) *Property {
	p := c.Property(name)
	if p == nil {
		p = NewProperty(name, "")
		c.Add(p)
		return p
	}
	c.nodes = slices.DeleteFunc(c.nodes, func(n node) bool {
		return n.prop != nil && n.prop != p && n.prop.name == p.name
	})
	return p
}

// SetValue makes the property the only one of its name and sets its raw value.
// Parameters that it has stay.
func (c *Component) SetValue(name, value string) { c.one(name).SetValue(value) }

// SetText is SetValue for TEXT, which it escapes.
func (c *Component) SetText(name, text string) { c.one(name).SetText(text) }

// SetTime is SetValue for a DATE or DATE-TIME; VALUE and TZID follow it.
func (c *Component) SetTime(name string, t Time) { c.one(name).SetTime(t) }

// SetDuration is SetValue for a DURATION.
func (c *Component) SetDuration(name string, d Duration) {
	p := c.one(name)
	if now, err := p.Duration(); err != nil || now != d {
		p.SetValue(d.String())
	}
}

// SetTextList writes a list of TEXT into one property, as CATEGORIES has it, and
// removes the others of its name. An empty list removes them all. Setting the
// present list changes nothing.
func (c *Component) SetTextList(name string, list []string) {
	if slices.Equal(c.TextList(name), list) {
		return
	}
	if len(list) == 0 {
		c.Remove(name)
		return
	}
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = EscapeText(s)
	}
	c.SetValue(name, strings.Join(parts, ","))
}

// Add puts a property behind the last one of its name, else behind the last
// property. Properties so come before components, as RFC 5545 asks.
func (c *Component) Add(p *Property) {
	same, last := -1, -1
	for i, n := range c.nodes {
		if n.prop == nil || n.prop.name == "" {
			continue
		}
		if n.prop.name == p.name {
			same = i
		}
		last = i
	}
	if same >= 0 {
		last = same
	}
	c.nodes = slices.Insert(c.nodes, last+1, node{prop: p})
}

// Remove removes all properties of that name and returns how many there were.
func (c *Component) Remove(name string) int {
	before := len(c.nodes)
	c.nodes = slices.DeleteFunc(c.nodes, func(n node) bool {
		return n.prop != nil && n.prop.name != "" && strings.EqualFold(n.prop.name, name)
	})
	return before - len(c.nodes)
}

// RemoveProperty removes one property and reports whether it was there.
func (c *Component) RemoveProperty(p *Property) bool {
	i := slices.IndexFunc(c.nodes, func(n node) bool { return n.prop == p && p != nil })
	if i >= 0 {
		c.nodes = slices.Delete(c.nodes, i, i+1)
	}
	return i >= 0
}

// AddComponent puts a child at the end.
func (c *Component) AddComponent(child *Component) {
	c.nodes = append(c.nodes, node{comp: child})
}

// RemoveComponent removes a direct child and reports whether it was there.
func (c *Component) RemoveComponent(child *Component) bool {
	i := c.indexOf(child)
	if i >= 0 {
		c.nodes = slices.Delete(c.nodes, i, i+1)
	}
	return i >= 0
}

// insert puts a child at a place among the nodes.
func (c *Component) insert(i int, child *Component) {
	c.nodes = slices.Insert(c.nodes, i, node{comp: child})
}

func (c *Component) indexOf(child *Component) int {
	return slices.IndexFunc(c.nodes, func(n node) bool { return n.comp == child && child != nil })
}

// Clone returns a copy that shares nothing which can be changed and has no
// parent. Lines that were read stay as they were written.
func (c *Component) Clone() *Component {
	d := *c
	d.nodes = make([]node, len(c.nodes))
	for i, n := range c.nodes {
		if n.prop != nil {
			d.nodes[i].prop = n.prop.clone()
		} else {
			d.nodes[i].comp = n.comp.Clone()
		}
	}
	return &d
}

// Bytes returns the component as it would be written in a file with CRLF.
func (c *Component) Bytes() []byte {
	w := writer{eol: "\r\n"}
	w.component(c)
	return w.out
}

// walk calls fn for c and every component in it.
func (c *Component) walk(fn func(*Component)) {
	fn(c)
	for _, n := range c.nodes {
		if n.comp != nil {
			n.comp.walk(fn)
		}
	}
}

// writer puts lines together again.
type writer struct {
	out []byte
	eol string
	bom int // octets at the start that are no line
}

func (w *writer) raw(s string) {
	w.newline()
	w.out = append(w.out, s...)
}

func (w *writer) line(s string) {
	w.newline()
	w.out = appendFolded(w.out, s, w.eol)
}

// newline ends the line before, if its file ended without a line break and
// something was added behind it.
func (w *writer) newline() {
	if n := len(w.out); n > w.bom && w.out[n-1] != '\n' {
		w.out = append(w.out, w.eol...)
	}
}

func (w *writer) component(c *Component) {
	if c.made {
		w.line("BEGIN:" + c.name)
	} else if c.begin != "" {
		w.raw(c.begin)
	}
	for _, n := range c.nodes {
		switch {
		case n.comp != nil:
			w.component(n.comp)
		case n.prop.raw != "":
			w.raw(n.prop.raw)
		default:
			w.line(n.prop.line)
		}
	}
	if c.made {
		w.line("END:" + c.name)
	} else if c.end != "" {
		w.raw(c.end)
	}
}
