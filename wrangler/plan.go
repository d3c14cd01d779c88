package wrangler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// State is what a data folder has been through: the part of its metadata that
// migrations are about. The zero State is that of an empty folder.
type State struct {
	Applied []string // tags of the migrations applied, in their order
	Classes []string // classes that exist after them, sorted
}

// Plan is what must be done to a data folder before it is served. Deletes come
// first, then all Renames at once (they may exchange two names), then Creates.
// Whoever carries it out stores Next in the same commit.
type Plan struct {
	Pending []Migration // the migrations that the plan carries out, in their order
	Deletes []Class     // classes of the folder, under their names there, whose data goes; the lines of deleted_classes
	Renames []Rename    // From as it is called in the folder, To as it is called afterwards
	Creates []NewClass
	Next    State // what to record
}

// NewClass is a class that the folder does not have. First is the name that it was
// created under before migrations renamed it: the name that identifies its objects,
// the same in a folder that saw every step and in one that starts at the end.
type NewClass struct {
	Name, First string
}

// Plan compares the migrations with what the data folder has recorded and the
// bindings with the classes that the program has, and returns what is to be done.
// A folder that is up to date gets an empty plan with Next equal to have.
//
// Deletes of a plan destroy data: ask before carrying it out. Creating and deleting
// a class in migrations that are all new to the folder cancels out.
//
// The error joins an [*Error] for every line to change:
//
//   - a migration that was applied has vanished, moved, or lost or gained a class,
//     or a new one stands before it;
//   - a migration creates a class that exists, or renames or deletes one that does
//     not, or renames onto one that exists;
//   - a binding is to a class that the program lacks, that no migration creates, or
//     that was deleted or renamed;
//   - a class exists, bound or not, that the program lacks: its objects could not
//     run (Cloudflare refuses such a deployment too).
//
// A class without a binding is fine.
func (c *Config) Plan(have State, classes []string) (*Plan, error) {
	p := &planner{problems: problems{path: c.Path}, live: make(map[string]*space), gone: make(map[string]string)}
	if !p.sameOrder(c.Migrations, have.Applied) {
		return nil, p.err()
	}
	applied, pending := c.Migrations[:len(have.Applied)], c.Migrations[len(have.Applied):]
	for i := range applied {
		p.apply(&applied[i])
	}
	p.sameClasses(applied, have.Classes)
	for name, s := range p.live {
		s.stored = name
	}
	for i := range pending {
		p.apply(&pending[i])
	}
	p.checkBindings(c.Bindings, classes)
	p.checkProgram(c.Bindings, classes)
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.plan(c.Migrations, pending), nil
}

// planner plays the migrations of a file through.
type planner struct {
	problems
	live    map[string]*space // classes at this point
	gone    map[string]string // what became of classes that are not live
	deletes []Class           // deleted with a stored name
}

// space is the objects of a class, whatever the class is called at the moment.
type space struct {
	first  string // name at creation
	stored string // name in the data folder, "" if it is not there
	line   int    // where its present name comes from
	tag    string
}

// sameOrder checks that the applied migrations are the first ones of the file.
func (p *planner) sameOrder(migrations []Migration, applied []string) bool {
	for i, tag := range applied {
		at := slices.IndexFunc(migrations, func(m Migration) bool { return m.Tag == tag })
		switch {
		case at == i:
		case at > i:
			m := migrations[i]
			if slices.Contains(applied, m.Tag) {
				p.add(m.Line, "migration %q stands before %q, but was applied after it: put them back in their order", m.Tag, tag)
			} else {
				p.add(m.Line, "migration %q is new but stands before %q, which has been applied: move it to the end", m.Tag, tag)
			}
			return false
		default:
			p.vanished(migrations, tag, i)
			return false
		}
	}
	return true
}

// vanished reports a tag that the file lacks, at the line where it would stand.
func (p *planner) vanished(migrations []Migration, tag string, i int) {
	switch {
	case i < len(migrations):
		p.add(migrations[i].Line, "migration %q has been applied to this data and is gone from the file: put it back before %q", tag, migrations[i].Tag)
	case i > 0 && i <= len(migrations):
		p.add(migrations[i-1].Line, "migration %q has been applied to this data and is gone from the file: put it back after %q", tag, migrations[i-1].Tag)
	default:
		p.add(0, "migration %q has been applied to this data and is gone from the file, which has no migrations: put it back", tag)
	}
}

// apply plays one migration: deletions, then renames at once, then creations, so
// that a name may be freed and taken in one migration.
func (p *planner) apply(m *Migration) {
	for _, c := range m.Deleted {
		s := p.live[c.Name]
		if s == nil {
			p.add(c.Line, "migration %q deletes class %q, %s", m.Tag, c.Name, p.fate(c.Name))
			continue
		}
		delete(p.live, c.Name)
		p.gone[c.Name] = fmt.Sprintf("deleted by migration %q in line %d", m.Tag, c.Line)
		if s.stored != "" {
			p.deletes = append(p.deletes, Class{Name: s.stored, Line: c.Line})
		}
	}
	moved := make([]*space, len(m.Renamed))
	for i, r := range m.Renamed {
		if moved[i] = p.live[r.From]; moved[i] == nil {
			p.add(r.Line, "migration %q renames class %q, %s", m.Tag, r.From, p.fate(r.From))
			continue
		}
		delete(p.live, r.From)
		p.gone[r.From] = fmt.Sprintf("renamed to %q by migration %q in line %d", r.To, m.Tag, r.Line)
	}
	for i, r := range m.Renamed {
		if moved[i] != nil && p.free(r.To, r.Line, fmt.Sprintf("migration %q renames %q onto class", m.Tag, r.From)) {
			moved[i].line, moved[i].tag = r.Line, m.Tag
			p.live[r.To] = moved[i]
		}
	}
	for _, c := range m.created() {
		if p.free(c.Name, c.Line, fmt.Sprintf("migration %q creates class", m.Tag)) {
			p.live[c.Name] = &space{first: c.Name, line: c.Line, tag: m.Tag}
		}
	}
}

// free reports whether no class has that name.
func (p *planner) free(name string, line int, what string) bool {
	if s := p.live[name]; s != nil {
		p.add(line, "%s %q, which exists since migration %q in line %d", what, name, s.tag, s.line)
		return false
	}
	return true
}

// fate says why a class is not there.
func (p *planner) fate(name string) string {
	if what := p.gone[name]; what != "" {
		return "which was " + what
	}
	return "which no migration before it creates" + didYouMean(name, p.names())
}

func (p *planner) names() []string {
	return slices.Sorted(maps.Keys(p.live))
}

// sameClasses finds edits of migrations after they were applied: they would
// never be carried out, and the data of a class that was taken out would be lost
// from sight.
func (p *planner) sameClasses(applied []Migration, classes []string) {
	line, made := 0, "no migration that was applied makes it"
	if len(applied) > 0 {
		last := applied[len(applied)-1]
		line, made = last.Line, fmt.Sprintf("the migrations up to %q do not make it", last.Tag)
	}
	for _, name := range classes {
		if p.live[name] == nil {
			p.add(line, "this data has class %q, but %s: undo the edit of what has been applied, "+
				"and rename or delete the class in a new migration", name, made)
		}
	}
	for _, name := range p.names() {
		if s := p.live[name]; !slices.Contains(classes, name) {
			p.add(s.line, "class %q was written into migration %q after that had been applied: move it to a new migration", name, s.tag)
		}
	}
}

func (p *planner) checkBindings(bindings []Binding, classes []string) {
	for _, b := range bindings {
		switch {
		case p.live[b.ClassName] != nil && slices.Contains(classes, b.ClassName):
		case p.gone[b.ClassName] != "" && p.live[b.ClassName] == nil:
			p.add(b.Line, "binding %q is to class %q, which was %s: change the binding or remove it", b.Name, b.ClassName, p.gone[b.ClassName])
		case !slices.Contains(classes, b.ClassName):
			p.add(b.Line, "binding %q is to class %q, which this program does not have: %s", b.Name, b.ClassName, choice(b.ClassName, classes))
		default:
			p.add(b.Line, "binding %q is to class %q, which no migration creates: add a migration with a tag of its own and new_sqlite_classes = [%q]", b.Name, b.ClassName, b.ClassName)
		}
	}
}

// checkProgram looks at the classes that exist without a binding; those with one
// have been reported at the binding.
func (p *planner) checkProgram(bindings []Binding, classes []string) {
	for _, name := range p.names() {
		bound := slices.ContainsFunc(bindings, func(b Binding) bool { return b.ClassName == name })
		if s := p.live[name]; !bound && !slices.Contains(classes, name) {
			p.add(s.line, "migration %q makes class %q, which this program does not have: %s", s.tag, name, choice(name, classes))
		}
	}
}

// choice lists the classes that a name may have meant.
func choice(name string, classes []string) string {
	if len(classes) == 0 {
		return "it has none"
	}
	return fmt.Sprintf("it has %s%s", quoted(slices.Sorted(slices.Values(classes))), didYouMean(name, classes))
}

func (p *planner) plan(all, pending []Migration) *Plan {
	plan := &Plan{Pending: append([]Migration(nil), pending...), Deletes: p.deletes}
	for _, m := range all {
		plan.Next.Applied = append(plan.Next.Applied, m.Tag)
	}
	for _, name := range p.names() {
		plan.Next.Classes = append(plan.Next.Classes, name)
		switch s := p.live[name]; s.stored {
		case name:
		case "":
			plan.Creates = append(plan.Creates, NewClass{Name: name, First: s.first})
		default:
			plan.Renames = append(plan.Renames, Rename{From: s.stored, To: name, Line: s.line})
		}
	}
	slices.SortFunc(plan.Deletes, func(a, b Class) int { return strings.Compare(a.Name, b.Name) })
	return plan
}
