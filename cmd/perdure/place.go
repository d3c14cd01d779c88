package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
	"github.com/perdure/perdure/store/pebblestore"
)

// place is where data is. The store's lock is the folder's: who holds it may make key
// and socket.
type place struct {
	dir   string // of the key and the socket; "" in memory
	store string // of the engine
}

// place finds out what --data and --store say.
func (f *dataFlags) place() (place, error) {
	if f.Store == "" {
		return place{f.Data, filepath.Join(f.Data, "store")}, nil
	}
	kind, rest, found := strings.Cut(f.Store, ":")
	switch {
	case !found:
	case kind == "memory" && rest == "":
		return place{}, nil
	case kind == "pebble" && rest != "":
		return place{rest, rest}, nil
	}
	shown := kind
	if found {
		shown += ":"
	}
	return place{}, usageError(fmt.Sprintf("--store %q: must be memory: or pebble:DIR", shown))
}

// String says for people where the data is.
func (p place) String() string {
	if p.dir == "" {
		return "in memory: gone when this process ends"
	}
	return p.store
}

// exists says whether there is any data.
func (p place) exists() (bool, error) {
	_, err := os.Stat(p.store)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// open opens the store, making folders that are missing, closed to others. An error that is
// [store.ErrInUse] says that another process has it.
func (p place) open(log *slog.Logger) (store.Store, error) {
	if p.dir == "" {
		return memstore.New(nil), nil
	}
	st, err := pebblestore.Open(p.store, &pebblestore.Options{Logger: log})
	if err != nil { // not a nil *pebblestore.Store in an interface
		return nil, err
	}
	return st, nil
}

// key returns the key that credentials are sealed under, made when first needed.
func (p place) key() *accounts.Key {
	if p.dir == "" {
		return accounts.MemoryKey()
	}
	return accounts.KeyFile(filepath.Join(p.dir, "key"))
}
