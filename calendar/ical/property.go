package ical

import (
	"strings"
	"unicode/utf8"
)

// Property is one content line: name, parameters, value.
//
// A property that was read keeps its line as it was written until it is
// changed; a change touches only the part that it names. Reading may be done by
// several goroutines at once, changing by one that is alone.
type Property struct {
	raw  string // as read, with folding and line break; "" once changed or if made here
	line string // unfolded; the truth
	name string // upper case; "" for a line that is no property

	nameEnd, colon int // places in line
}

// NewProperty makes a property with a raw value: what is special in the value's
// type must be escaped already (see [EscapeText]). Control characters are
// dropped from it. It panics if a name is not made of letters, digits and
// hyphens.
func NewProperty(name, value string, params ...Param) *Property {
	var b strings.Builder
	b.WriteString(mustName(name))
	for _, p := range params {
		if len(p.Values) > 0 {
			b.WriteString(formatParam(p.Name, p.Values))
		}
	}
	p := &Property{name: mustName(name), nameEnd: len(name), colon: b.Len()}
	p.line = b.String() + ":" + dropControls(value)
	return p
}

// parseProperty reads a line; a line that is no property gets no name.
func (p *Property) parse(raw, line string) {
	*p = Property{raw: raw, line: line, nameEnd: -1, colon: -1}
	end := strings.IndexAny(line, ":;")
	if end <= 0 || !isToken(line[:end]) {
		return
	}
	colon, quoted := end, false
	for ; colon < len(line) && (quoted || line[colon] != ':'); colon++ {
		if line[colon] == '"' {
			quoted = !quoted
		}
	}
	if colon == len(line) {
		// A quote that is never closed: the first colon must do.
		if colon = strings.IndexByte(line, ':'); colon < 0 {
			return
		}
	}
	p.name, p.nameEnd, p.colon = upper(line[:end]), end, colon
}

// Name returns the name in upper case.
func (p *Property) Name() string { return p.name }

// Value returns the value as it is written: unfolded, but not unescaped, and in
// whatever encoding the file has.
func (p *Property) Value() string { return p.line[p.colon+1:] }

// SetValue replaces the raw value and leaves the parameters as they are.
// Control characters are dropped. Setting the present value changes nothing.
func (p *Property) SetValue(value string) {
	if value = dropControls(value); value != p.Value() {
		p.line = p.line[:p.colon+1] + value
		p.raw = ""
	}
}

// Params returns the parameters in the order in which they are written.
func (p *Property) Params() []Param {
	var out []Param
	p.eachParam(func(at param) bool {
		out = append(out, Param{Name: at.name, Values: splitParamValues(p.line[at.value:at.end])})
		return true
	})
	return out
}

// Param returns the first value of a parameter, "" if there is none.
func (p *Property) Param(name string) string {
	if v := p.ParamValues(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// ParamValues returns all values of a parameter, nil if there is none.
func (p *Property) ParamValues(name string) (values []string) {
	if p.nameEnd == p.colon {
		return nil
	}
	p.eachParam(func(at param) bool {
		if !strings.EqualFold(at.name, name) {
			return true
		}
		values = splitParamValues(p.line[at.value:at.end])
		return false
	})
	return values
}

// SetParam sets a parameter, in its place if it is there, else as the last one.
// Without values it is removed. The other parameters stay as they are written.
// It panics on a bad name, as [NewProperty] does.
func (p *Property) SetParam(name string, values ...string) {
	var found []param
	p.eachParam(func(at param) bool {
		if strings.EqualFold(at.name, name) {
			found = append(found, at)
		}
		return true
	})
	text := ""
	if len(values) > 0 {
		text = formatParam(name, values)
	}
	if len(found) == 0 {
		found = []param{{start: p.colon, end: p.colon}}
	}
	before := p.line
	for i := len(found) - 1; i >= 0; i-- {
		t := ""
		if i == 0 {
			t = text
		}
		p.line = p.line[:found[i].start] + t + p.line[found[i].end:]
		p.colon += len(t) - (found[i].end - found[i].start)
	}
	if p.line != before {
		p.raw = ""
	}
}

// Text returns the value as TEXT, unescaped.
func (p *Property) Text() string { return UnescapeText(p.Value()) }

// SetText writes a TEXT value. Setting the present text changes nothing, however
// it is escaped.
func (p *Property) SetText(s string) {
	if p.Text() != s {
		p.SetValue(EscapeText(s))
	}
}

// TextList returns the value as a list of TEXT, unescaped.
func (p *Property) TextList() []string {
	parts := SplitList(p.Value())
	for i := range parts {
		parts[i] = UnescapeText(parts[i])
	}
	return parts
}

// Time returns the value as a DATE or DATE-TIME; of a list, the first.
func (p *Property) Time() (Time, error) {
	v := p.Value()
	if i := strings.IndexByte(v, ','); i >= 0 {
		v = v[:i]
	}
	return p.parseTime(v)
}

// Times returns the value as a list of DATE or DATE-TIME values. Those that can
// be read are returned even if there is an error.
func (p *Property) Times() ([]Time, error) {
	var out []Time
	var first error
	for _, v := range SplitList(p.Value()) {
		t, err := p.parseTime(v)
		if err == nil {
			out = append(out, t)
		} else if first == nil {
			first = err
		}
	}
	return out, first
}

func (p *Property) parseTime(v string) (Time, error) {
	t, err := ParseTime(v, p.Param("TZID"))
	if err == nil && !t.Date && strings.EqualFold(p.Param("VALUE"), "DATE") {
		t = t.day() // seen in the wild: VALUE=DATE with a time of 000000
	}
	return t, err
}

// SetTime writes a DATE or DATE-TIME with the VALUE and TZID parameters that it
// needs. Other parameters stay. Setting the present time changes nothing.
func (p *Property) SetTime(t Time) {
	if now, err := p.parseTime(p.Value()); err == nil && now == t {
		return
	}
	p.setTimeParams(t)
	p.SetValue(t.String())
}

func (p *Property) setTimeParams(t Time) {
	switch {
	case t.Date:
		p.SetParam("VALUE", "DATE")
	case p.name == "TRIGGER": // a duration unless it says otherwise
		p.SetParam("VALUE", "DATE-TIME")
	case !strings.EqualFold(p.Param("VALUE"), "DATE-TIME"):
		p.SetParam("VALUE")
	}
	if t.TZID == "" {
		p.SetParam("TZID")
	} else if p.Param("TZID") != t.TZID {
		p.SetParam("TZID", t.TZID)
	}
}

// Duration returns the value as a DURATION.
func (p *Property) Duration() (Duration, error) { return ParseDuration(p.Value()) }

// Rule returns the value as a recurrence rule.
func (p *Property) Rule() (*Rule, error) { return ParseRule(p.Value()) }

// String returns the line, unfolded and without a line break.
func (p *Property) String() string { return p.line }

func (p *Property) clone() *Property {
	c := *p
	return &c
}

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == '/': // the last three: not by the RFC, but in files
		default:
			return false
		}
	}
	return s != ""
}

func mustName(name string) string {
	if !isToken(name) {
		panic("ical: bad name " + name)
	}
	return upper(name)
}

// upper avoids the allocation in the usual case.
func upper(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'a' <= c && c <= 'z' || c >= utf8.RuneSelf {
			return strings.ToUpper(s)
		}
	}
	return s
}
