package wrangler

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Config is a configuration file resolved for one environment.
type Config struct {
	Path       string            // the file, as given to Load
	Env        string            // the environment, "" for the top level
	Name       string            // the worker's name, "" if the file has none
	Bindings   []Binding         // in the order of the file
	Migrations []Migration       // in the order of the file, the order they apply in
	Vars       map[string]string // never nil; see Variables for those of other files
	Quota      int64             // perdure.quota in bytes a namespace, 0 if not set
	Warnings   []string          // file:line: what is probably not meant; nothing is wrong
}

// Binding gives a class a name in the worker's environment.
type Binding struct {
	Name       string
	ClassName  string
	ScriptName string // the worker's own name if given at all; others are refused
	Line       int
}

// Migration is one entry of migrations. Both kinds of new classes get the same
// storage here; they are kept apart only because the file does so.
type Migration struct {
	Tag              string
	NewClasses       []Class
	NewSQLiteClasses []Class
	Renamed          []Rename
	Deleted          []Class
	Line             int
}

// Class is the name of a class and the line it stands on.
type Class struct {
	Name string
	Line int
}

// Rename moves the objects of class From to class To.
type Rename struct {
	From, To string
	Line     int
}

// names in the order in which wrangler prefers them when a folder has several.
var names = []string{"wrangler.json", "wrangler.jsonc", "wrangler.toml"}

// Find returns the path of the configuration file in the folder dir: the first
// there is of wrangler.json, wrangler.jsonc and wrangler.toml, which is wrangler's
// order. Unlike wrangler it does not look in the folders above. Without any of
// them the error is fs.ErrNotExist.
func Find(dir string) (string, error) {
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("find one of %s in %s: %w", strings.Join(names, ", "), dir, fs.ErrNotExist)
}

// Load reads the configuration file at path for the environment env, "" meaning
// the top level. An environment that the file does not have is an error which
// lists those it has. A file that can't be read gives the operating system's
// error, wrong contents give one or more [*Error] joined.
func Load(path, env string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, env)
}

// Parse is Load for contents that the caller has. The extension of path tells
// the format: .toml, .json or .jsonc. Parse keeps no reference to data.
func Parse(path string, data []byte, env string) (*Config, error) {
	data, err := checkText(path, data)
	if err != nil {
		return nil, err
	}
	var root *node
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".toml":
		root, err = parseTOML(path, data)
	case ".json", ".jsonc":
		root, err = parseJSONC(path, data)
	default:
		err = &Error{Path: path, Problem: fmt.Sprintf("extension %q is none of .toml, .json and .jsonc", ext)}
	}
	if err != nil {
		return nil, err
	}
	return decode(path, root, env)
}
