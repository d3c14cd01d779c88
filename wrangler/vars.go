package wrangler

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
)

// vars reads the variables of the file. wrangler binds a string as it is and any
// other value as JSON; here a variable is always text, so that is its JSON text.
func (d *decoder) vars(section *node) map[string]string {
	vars := make(map[string]string)
	t := d.table(section, "vars")
	if t == nil {
		return vars
	}
	if len(t.members) > maxItems {
		d.add(t.line, "\"vars\" has %d entries, more than the limit of %d", len(t.members), maxItems)
		return vars
	}
	for _, m := range t.members {
		if m.key == "" {
			d.add(m.line, "a variable has an empty name")
		}
		if m.again != 0 {
			d.add(m.again, "variable %q stands twice, the other one in line %d: remove one", m.key, m.line)
		}
		if m.value.kind == kindString {
			vars[m.key] = m.value.text
			continue
		}
		text, err := m.value.json()
		if err != nil {
			d.add(m.line, "variable %q: %v", m.key, err)
			continue
		}
		vars[m.key] = text
	}
	return vars
}

// Variables returns the variables of all files in the folder dir, "" meaning that
// of the configuration file. Later ones win over earlier ones:
//
//	vars of the configuration file
//	.env, .env.local, .env.NAME, .env.NAME.local
//	.dev.vars.NAME if the environment NAME has that file, else .dev.vars
//
// Files that are not there are skipped. Flags and the process's environment are
// the caller's to put on top. wrangler leaves out the .env files where there is a
// .dev.vars; here they stay underneath it.
func (c *Config) Variables(dir string) (map[string]string, error) {
	if dir == "" {
		dir = filepath.Dir(c.Path)
	}
	vars := maps.Clone(c.Vars)
	if vars == nil {
		vars = make(map[string]string)
	}
	files := []string{".env", ".env.local"}
	secrets := []string{".dev.vars"}
	if c.Env != "" {
		files = append(files, ".env."+c.Env, ".env."+c.Env+".local")
		secrets = []string{".dev.vars." + c.Env, ".dev.vars"}
	}
	for _, name := range files {
		if _, err := overlay(vars, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	for _, name := range secrets {
		found, err := overlay(vars, filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if found {
			break
		}
	}
	return vars, nil
}

// overlay puts the variables of a file over vars and reports whether it exists.
func overlay(vars map[string]string, path string) (bool, error) {
	more, err := LoadVars(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	maps.Copy(vars, more)
	return true, nil
}
