package wrangler

import (
	"fmt"
	"slices"
	"strings"
)

// decoder turns the tree of a file into a Config. It goes on after a problem, so
// that one run reports them all.
type decoder struct {
	problems
	warnings []string
}

func decode(path string, root *node, env string) (*Config, error) {
	d := &decoder{problems: problems{path: path}}
	section := d.section(root, env)
	if section == nil {
		return nil, d.err()
	}
	d.spelling(root)
	if section != root {
		d.spelling(section)
	}
	cfg := &Config{Path: path, Env: env}
	cfg.Name = d.name(root, section, env)
	cfg.Bindings = d.bindings(section, cfg.Name)
	cfg.Migrations = d.migrations(d.inherited(root, section, "migrations"))
	cfg.Vars = d.vars(section)
	cfg.Quota = d.perdure(d.inherited(root, section, "perdure"))
	d.exports(d.inherited(root, section, "exports"))
	d.clashes(cfg, section)
	if section != root {
		d.missing(root, section, env)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	cfg.Warnings = d.warnings
	return cfg, nil
}

func (d *decoder) warn(line int, format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf("%s:%d: %s", d.path, line, fmt.Sprintf(format, args...)))
}

// section returns the table that env names, or nil and a problem.
func (d *decoder) section(root *node, env string) *node {
	if env == "" {
		return root
	}
	envs := d.table(root, "env")
	if envs == nil {
		d.add(0, "there is no environment %q: the file has no env table", env)
		return nil
	}
	if section := d.table(envs, env); section != nil {
		return section
	}
	if envs.lookup(env) == nil {
		d.add(envs.line, "there is no environment %q: the file has %s%s", env, quoted(envs.keys()), didYouMean(env, envs.keys()))
	}
	return nil
}

// inherited returns key of the environment or else of the top level: a key that
// is inherited is inherited whole, never merged.
func (d *decoder) inherited(root, section *node, key string) *member {
	if m := d.get(section, key); m != nil {
		return m
	}
	return d.get(root, key)
}

// get returns the member of that key, nil if there is none. JSON lets a key stand
// twice; for keys that are read that is a problem, for others none of our affair.
func (d *decoder) get(t *node, key string) *member {
	m := t.lookup(key)
	if m != nil && m.again != 0 {
		d.add(m.again, "%q stands twice, the other one in line %d: remove one", key, m.line)
		m.again = 0
	}
	return m
}

func (d *decoder) typed(t *node, key string, want kind) *node {
	m := d.get(t, key)
	if m == nil {
		return nil
	}
	if m.value.kind != want {
		d.add(m.line, "%q must be %s, not %s", key, want, m.value.kind)
		return nil
	}
	return m.value
}

func (d *decoder) table(t *node, key string) *node { return d.typed(t, key, kindTable) }

// text returns the string under key. Names are short; nothing is cut in silence.
func (d *decoder) text(t *node, key string) string {
	n := d.typed(t, key, kindString)
	if n == nil {
		return ""
	}
	if n.text == "" {
		d.add(n.line, "%q is empty", key)
	}
	d.short(n, key)
	return n.text
}

func (d *decoder) short(n *node, key string) {
	if len(n.text) > maxName {
		d.add(n.line, "%q is longer than the limit of %d bytes", key, maxName)
	}
}

// items returns the tables of the list m, whose entries are called what.
func (d *decoder) items(m *member, what string) []*node {
	if m == nil {
		return nil
	}
	if m.value.kind != kindArray {
		d.add(m.line, "%q must be a list of tables, not %s", m.key, m.value.kind)
		return nil
	}
	if len(m.value.elems) > maxItems {
		d.add(m.line, "%q has %d entries, more than the limit of %d", m.key, len(m.value.elems), maxItems)
		return nil
	}
	var tables []*node
	for _, e := range m.value.elems {
		if e.kind != kindTable {
			d.add(e.line, "%s must be a table, not %s", what, e.kind)
			continue
		}
		tables = append(tables, e)
	}
	return tables
}

// entry checks the keys of a table that is ours to read. A key that is close to
// one that is absent is a misspelling; other unknown keys may be newer than we
// are and pass.
func (d *decoder) entry(t *node, what string, required, optional []string) bool {
	absent := slices.DeleteFunc(slices.Concat(required, optional), func(key string) bool { return t.lookup(key) != nil })
	var guessed []string
	for _, m := range t.members {
		if slices.Contains(required, m.key) || slices.Contains(optional, m.key) {
			continue
		}
		if key := Nearest(m.key, absent); key != "" {
			d.add(m.line, "%s has no %q but has %q; did you mean %q?", what, key, m.key, key)
			guessed = append(guessed, key)
		}
	}
	complete := true
	for _, key := range required {
		if t.lookup(key) != nil {
			continue
		}
		complete = false
		if !slices.Contains(guessed, key) {
			d.add(t.line, "%s has no %q", what, key)
		}
	}
	return complete
}

// spelling looks for keys of the top level, or of an environment, that are nearly
// ours. Our own table must be right; beside wrangler's keys it can only warn.
func (d *decoder) spelling(t *node) {
	ours := []string{"durable_objects", "migrations", "vars", "perdure"}
	for _, m := range t.members {
		switch key := Nearest(m.key, ours); {
		case key == "" || key == m.key:
		case key == "perdure":
			d.add(m.line, "%q is not known; did you mean %q?", m.key, key)
		case t.lookup(key) == nil:
			d.warn(m.line, "%q is ignored; did you mean %q?", m.key, key)
		}
	}
}

// name is inherited with the environment appended, unless the environment has
// its own.
func (d *decoder) name(root, section *node, env string) string {
	own := d.text(section, "name")
	if section == root || own != "" {
		return own
	}
	if top := d.text(root, "name"); top != "" {
		return top + "-" + env
	}
	return ""
}

func (d *decoder) bindings(section *node, worker string) []Binding {
	t := d.table(section, "durable_objects")
	if t == nil || !d.entry(t, "durable_objects", []string{"bindings"}, nil) {
		return nil
	}
	var bindings []Binding
	first := make(map[string]int)
	for _, e := range d.items(d.get(t, "bindings"), "a binding") {
		if !d.entry(e, "the binding", []string{"name", "class_name"}, []string{"script_name", "environment"}) {
			continue
		}
		b := Binding{Name: d.text(e, "name"), ClassName: d.text(e, "class_name"), ScriptName: d.text(e, "script_name")}
		b.Line = e.lookup("class_name").line
		if line := first[b.Name]; line != 0 {
			d.add(e.lookup("name").line, "binding %q stands twice, the other one in line %d: give one another name", b.Name, line)
		}
		first[b.Name] = e.lookup("name").line
		d.ownScript(e, b, worker)
		bindings = append(bindings, b)
	}
	return bindings
}

// ownScript refuses bindings to classes of other workers.
func (d *decoder) ownScript(e *node, b Binding, worker string) {
	environment := d.text(e, "environment")
	if environment != "" && b.ScriptName == "" {
		d.add(e.lookup("environment").line, "binding %q has an environment without a script_name: remove it", b.Name)
		return
	}
	script := b.ScriptName
	if environment != "" {
		script += "-" + environment
	}
	if script != "" && script != worker {
		d.add(e.lookup("script_name").line, "binding %q is to class %q of another worker, %q, whose objects live in a store of its own: "+
			"remove script_name to bind this program's class, or call that worker over HTTP", b.Name, b.ClassName, script)
	}
}

// clashes finds names that are both a variable and a binding.
func (d *decoder) clashes(cfg *Config, section *node) {
	for _, b := range cfg.Bindings {
		if _, ok := cfg.Vars[b.Name]; ok {
			line := section.lookup("vars").value.line
			d.add(b.Line, "%q is a binding here and a variable in the table of line %d: rename one", b.Name, line)
		}
	}
}

// missing warns of what the environment does not inherit.
func (d *decoder) missing(root, section *node, env string) {
	for _, key := range []string{"durable_objects", "vars"} {
		top := root.lookup(key)
		if top == nil {
			continue
		}
		own := section.lookup(key)
		if own == nil {
			d.warn(section.line, "%q of line %d is not inherited: add it to env.%s", key, top.line, env)
			continue
		}
		if lost := without(entryNames(top.value), entryNames(own.value)); len(lost) > 0 {
			d.warn(own.line, "%q of env.%s is without %s, which the top level has and environments do not inherit", key, env, quoted(lost))
		}
	}
}

// entryNames returns the names of the variables or bindings in a table.
func entryNames(t *node) []string {
	if t.kind != kindTable {
		return nil
	}
	list := t.lookup("bindings")
	if list == nil || list.value.kind != kindArray {
		return t.keys()
	}
	var names []string
	for _, e := range list.value.elems {
		if m := e.lookup("name"); m != nil {
			names = append(names, m.value.text)
		}
	}
	return names
}

func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) })
}

// exports refuses the declarative form: it is a wish to be compared with what
// Cloudflare has on record, not a list of steps.
func (d *decoder) exports(m *member) {
	if m == nil || m.value.kind != kindTable {
		return
	}
	var classes []string
	line := 0
	for _, e := range m.value.members {
		if e.value.kind != kindTable {
			continue
		}
		if t := e.value.lookup("type"); t != nil && t.value.text == "durable-object" {
			classes = append(classes, e.key)
			if line == 0 {
				line = e.line
			}
		}
	}
	if len(classes) > 0 {
		d.add(line, "durable objects are declared under \"exports\", which is not supported: "+
			"declare %s by entries of \"migrations\", such as tag = \"v1\", new_sqlite_classes = [%s]", quoted(classes), list(classes))
	}
}

func list(names []string) string {
	var q []string
	for _, name := range names {
		q = append(q, fmt.Sprintf("%q", name))
	}
	return strings.Join(q, ", ")
}
