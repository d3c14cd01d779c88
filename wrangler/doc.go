// Package wrangler reads the configuration of a Workers project: wrangler.toml,
// wrangler.json and wrangler.jsonc, and the variables in .dev.vars and .env. It
// is pure: it reads files, resolves one environment, and says what a program
// with given classes on a given data folder has to do. It stores nothing and
// opens no connection.
//
// # A tour
//
// [Find] names the configuration file of a folder, [Load] reads it for one
// environment, [Config.Variables] adds the variables of the files beside it, and
// [Config.Plan] compares its migrations with what a data folder has been through:
//
//	path, err := wrangler.Find(".")
//	cfg, err := wrangler.Load(path, "staging")
//	vars, err := cfg.Variables("")
//	plan, err := cfg.Plan(recorded, []string{"SessionStore", "CalendarCache"})
//
// # What is read
//
//	name                         the worker's name
//	durable_objects.bindings     name, class_name, script_name, environment
//	migrations                   tag, new_classes, new_sqlite_classes,
//	                             renamed_classes, deleted_classes
//	vars                         strings, and other JSON values as their text
//	env.NAME                     the same keys for one environment
//	perdure                      our own table; its only key is quota
//
// Everything else in the file belongs to wrangler and is passed over in silence.
// A key of ours that is misspelled is not: it is an error in the perdure table
// and in the entries of bindings and migrations, and a warning at the top level,
// where wrangler may grow a key of any name.
//
// # Environments
//
// An environment inherits name (with "-NAME" appended), migrations and perdure,
// each as a whole. It does not inherit durable_objects and vars: what it does not
// repeat it does not have, and [Config.Warnings] says so, as wrangler does.
// (Cloudflare's documentation, Wrangler configuration, "Inheritable keys" and
// "Non-inheritable keys".)
//
// # What is refused, and why
//
// A binding to a class of another worker (script_name), transferred_classes, and
// the declarative exports of 2026: the first two need objects of another worker's
// store, the third a comparison with Cloudflare's own records. The errors say
// what to write instead. new_classes and new_sqlite_classes mean the same here:
// there is one kind of storage.
//
// # Errors
//
// What is wrong with a file is an [*Error] with file and line, several of them
// joined; errors.As finds the first. No error shows the text of a variable.
// Files over 1 MiB, values nested deeper than 64, lists of more than 1000 entries
// and TOML files of more than 10,000 keys are refused by errors that name the
// limit.
//
// Nothing here keeps state between calls: all functions may be called at once,
// and a Config may be shared as long as nobody changes it.
package wrangler
