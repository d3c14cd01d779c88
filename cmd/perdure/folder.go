package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// localFolder is the data folder of a server that is started here.
const localFolder = ".perdure"

// serverFolder fills in the folder of a command that serves from where it was started.
func (f *dataFlags) serverFolder() {
	if f.Data == "" {
		f.Data = localFolder
	}
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
	if err := f.clientFolder(env); err != nil || f.Data != localFolder && f.Store == "" && !isFolder(f.Data) {
		f.Data = localFolder
	}
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
