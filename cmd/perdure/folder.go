package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/alecthomas/kong"
)

// localFolder is the data folder of a server that is started here.
const localFolder = ".perdure"

// serverFolder fills in the folder of a command that serves from where it was started.
func (f *dataFlags) serverFolder() {
	if f.Data == "" {
		f.Data, f.byDefault = localFolder, true
	}
}

// command returns the command line of another command on the same data. No store's password
// is in it: in the place of an address that may hold one stands URL.
func (f *dataFlags) command(words string) string {
	data, store := f.Data, f.Store
	if f.byDefault { // the other command finds it, too
		data = ""
	}
	if isPostgres(store) && strings.ContainsAny(store, "@?#%") {
		store = "URL"
	}
	for _, flag := range []struct{ name, value string }{{"data", data}, {"config", f.Config}, {"env", f.Env}, {"store", store}} {
		if flag.value != "" {
			words += " --" + flag.name + "=" + shellWord(flag.value)
		}
	}
	return "perdure " + words
}

// shellWord quotes what a shell would not read as it is.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("/._-+,:@%", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// clientFolder fills in the folder of a command that some other program starts, wherever
// that happens to be: the local one if it is here, else the user's own.
func (f *dataFlags) clientFolder(env *environment) (err error) {
	if f.Data != "" || f.Store != "" {
		return nil
	}
	if isFolder(localFolder) {
		f.Data = localFolder
		return nil
	}
	f.Data, err = userFolder(env, runtime.GOOS)
	return err
}

// commandFolder fills in the folder of a command that works on data which another one
// has made: as clientFolder, but a new one is local.
func (f *dataFlags) commandFolder(env *environment) {
	if f.Data != "" || f.Store != "" {
		return
	}
	f.byDefault = true
	if err := f.clientFolder(env); err != nil || !isFolder(f.Data) {
		f.Data = localFolder
	}
}

// mustExist keeps a command that only looks, or deletes, from making a data folder.
func (f *dataFlags) mustExist(env *environment) error {
	f.commandFolder(env)
	at, err := f.place()
	if err != nil || at.dir == "" {
		return err
	}
	found, err := at.exists()
	if err != nil || found {
		return err
	}
	where := at.dir
	if own, err := userFolder(env, runtime.GOOS); err == nil && f.byDefault && f.Data != own {
		where += ", and none in " + own
	}
	return fmt.Errorf("there is no data in %s: say with --data where it is", where)
}

// announce says on standard error which data a command is about to change: who serves
// another folder, or looks there, sees nothing of it.
func (f *dataFlags) announce(env *environment) error { return f.announceNew(env, "now") }

// announceNew is announce for a command that makes missing data when it says.
func (f *dataFlags) announceNew(env *environment, when string) error {
	f.commandFolder(env)
	at, err := f.place()
	if err != nil || at.dir == "" { // in memory: see withControl
		return err
	}
	found, err := at.exists()
	if err != nil {
		return err
	}
	text := "Data: " + at.where()
	if !found {
		text += ", which is made " + when
	}
	if own, err := userFolder(env, runtime.GOOS); err == nil && f.byDefault && f.Data == localFolder {
		text += fmt.Sprintf(" (perdure stdio, where it is started elsewhere, uses %s: --data names one for both)", own)
	}
	_, err = fmt.Fprintln(env.stderr, text)
	return err
}

// folderNames are what the help of --data calls the folders.
func folderNames(env *environment) kong.Vars {
	own, err := userFolder(env, runtime.GOOS)
	if err != nil {
		own = "the user's own data folder"
	}
	own = strings.ReplaceAll(own, "$", "$$") // a path, no variable
	return kong.Vars{"local": localFolder, "own": own, "folder": localFolder}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// userFolder is where the system wants data of a user's programs.
func userFolder(env *environment, system string) (string, error) {
	get := func(name string) string { v, _ := env.getenv(name); return v }
	switch system {
	case "windows":
		if dir := get("LocalAppData"); dir != "" {
			return filepath.Join(dir, "perdure"), nil
		}
		return "", errors.New("LocalAppData is not set: say with --data where the data is")
	case "darwin", "ios":
		if home := get("HOME"); home != "" {
			return filepath.Join(home, "Library", "Application Support", "perdure"), nil
		}
	default:
		if dir := get("XDG_DATA_HOME"); filepath.IsAbs(dir) { // a relative one is to be ignored
			return filepath.Join(dir, "perdure"), nil
		}
		if home := get("HOME"); home != "" {
			return filepath.Join(home, ".local", "share", "perdure"), nil
		}
	}
	return "", errors.New("HOME is not set: say with --data where the data is")
}

// isHere says whether the data lies in this very folder, so that the configuration files in
// it are the data's. Elsewhere they may be those of any project.
func (p place) isHere() bool {
	if p.dir == "" {
		return true
	}
	path, err := filepath.Abs(p.dir)
	if err != nil {
		return false
	}
	here, err := os.Getwd()
	return err == nil && filepath.Dir(path) == here
}
