package wrangler

// created returns the classes that the migration creates, of either kind.
func (m *Migration) created() []Class {
	all := make([]Class, 0, len(m.NewClasses)+len(m.NewSQLiteClasses))
	return append(append(all, m.NewClasses...), m.NewSQLiteClasses...)
}

func (d *decoder) migrations(m *member) []Migration {
	var migrations []Migration
	first := make(map[string]int)
	for _, e := range d.items(m, "a migration") {
		optional := []string{"new_classes", "new_sqlite_classes", "renamed_classes", "deleted_classes", "transferred_classes"}
		if !d.entry(e, "the migration", []string{"tag"}, optional) {
			continue
		}
		mig := Migration{
			Tag:              d.text(e, "tag"),
			NewClasses:       d.classes(e, "new_classes"),
			NewSQLiteClasses: d.classes(e, "new_sqlite_classes"),
			Renamed:          d.renames(e),
			Deleted:          d.classes(e, "deleted_classes"),
			Line:             e.lookup("tag").line,
		}
		if line := first[mig.Tag]; line != 0 {
			d.add(mig.Line, "migration tag %q stands twice, the other one in line %d: every migration needs a tag of its own", mig.Tag, line)
		}
		first[mig.Tag] = mig.Line
		d.transfers(e)
		migrations = append(migrations, mig)
	}
	return migrations
}

// classes reads a list of class names.
func (d *decoder) classes(t *node, key string) []Class {
	list := d.typed(t, key, kindArray)
	if list == nil {
		return nil
	}
	if len(list.elems) > maxItems {
		d.add(list.line, "%q has %d entries, more than the limit of %d", key, len(list.elems), maxItems)
		return nil
	}
	var classes []Class
	for _, e := range list.elems {
		switch {
		case e.kind != kindString:
			d.add(e.line, "%q must list names of classes, not %s", key, e.kind)
		case e.text == "":
			d.add(e.line, "%q has an empty name", key)
		default:
			d.short(e, key)
			classes = append(classes, Class{Name: e.text, Line: e.line})
		}
	}
	return classes
}

func (d *decoder) renames(t *node) []Rename {
	var renames []Rename
	for _, e := range d.items(d.get(t, "renamed_classes"), "an entry of renamed_classes") {
		if d.entry(e, "the entry of renamed_classes", []string{"from", "to"}, nil) {
			renames = append(renames, Rename{From: d.text(e, "from"), To: d.text(e, "to"), Line: e.lookup("from").line})
		}
	}
	return renames
}

// transfers refuses transferred_classes: their objects are in the store of
// another worker, where this program can't reach.
func (d *decoder) transfers(t *node) {
	for _, e := range d.items(d.get(t, "transferred_classes"), "an entry of transferred_classes") {
		if d.entry(e, "the entry of transferred_classes", []string{"from", "from_script", "to"}, nil) {
			d.add(e.line, "transferred_classes can't be carried out: the objects of %q live in the store of worker %q. "+
				"Write %q into new_sqlite_classes instead, which starts it empty, and copy the data over HTTP", d.text(e, "from"), d.text(e, "from_script"), d.text(e, "to"))
		}
	}
}
