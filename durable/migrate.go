package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/perdure/perdure/store"
)

// classesKey is the metadata record that says which classes the store knows.
const classesKey = "classes"

// classRecords is what stands under classesKey.
type classRecords struct {
	Next    uint32                 `json:"next"` // number of the next namespace
	Classes map[string]classRecord `json:"classes"`
	Applied []string               `json:"applied,omitempty"` // tags of migrations, in order
}

type classRecord struct {
	Number    uint32 `json:"number"` // what the storage of its objects is prefixed by
	UniqueKey string `json:"uniqueKey"`
	Deleting  bool   `json:"deleting,omitempty"` // a migration that deletes it has begun
}

func (r *classRecords) enter(name, uniqueKey string) {
	if _, ok := r.Classes[name]; !ok {
		r.Next++
		for _, other := range r.Classes {
			if other.UniqueKey == uniqueKey { // of a class that once had this name
				uniqueKey = fmt.Sprintf("%s#%d", uniqueKey, r.Next)
				break
			}
		}
		r.Classes[name] = classRecord{Number: r.Next, UniqueKey: uniqueKey}
	}
}

// updateMeta replaces a metadata record by what change makes of it, whatever else changes it meanwhile.
func updateMeta(s store.Store, key string, change func(old []byte) ([]byte, error)) error {
	for {
		old, err := s.Meta(context.Background(), key)
		if err != nil {
			return err
		}
		value, err := change(old)
		if err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		if string(value) == string(old) {
			return nil
		}
		if done, err := s.SwapMeta(context.Background(), key, old, value); done || err != nil {
			return err
		}
	}
}

func updateClasses(s store.Store, change func(r *classRecords) error) (classRecords, error) {
	var r classRecords
	err := updateMeta(s, classesKey, func(old []byte) (_ []byte, err error) {
		if r, err = readClasses(old); err != nil {
			return nil, err
		}
		if err := change(&r); err != nil {
			return nil, err
		}
		return json.Marshal(r)
	})
	if err != nil {
		return r, storeError("classes", err)
	}
	return r, nil
}

func readClasses(data []byte) (classRecords, error) {
	var r classRecords
	if data != nil {
		if err := json.Unmarshal(data, &r); err != nil {
			return r, fmt.Errorf("record %q: %w", classesKey, err)
		}
	}
	if r.Classes == nil {
		r.Classes = make(map[string]classRecord)
	}
	return r, nil
}

func enterClasses(_ context.Context, s store.Store, classes []*namespace) (classRecords, error) {
	return updateClasses(s, func(r *classRecords) error {
		for _, n := range classes {
			if r.Classes[n.class.name].Deleting {
				return fmt.Errorf("class %s is being deleted by a migration that has not finished", n.class.name)
			}
			r.enter(n.class.name, n.class.opts.UniqueKey)
		}
		return nil
	})
}

// Migration is a change of the classes that a store knows.
type Migration struct {
	Delete  []string          // classes whose objects are deleted, with all their data
	Rename  map[string]string // old name to new name, all at once; objects keep ids and data
	Create  []ClassKey        // classes that begin here
	Applied []string          // what AppliedMigrations returns afterwards
}

// ClassKey names a class and the unique key of its namespace, "" for its name.
type ClassKey struct{ Name, UniqueKey string }

// AppliedMigrations returns what the last [Migration] recorded as applied, and the
// names of the classes that the store knows, sorted.
func AppliedMigrations(s store.Store) (applied, classes []string, err error) {
	data, err := s.Meta(context.Background(), classesKey)
	if err != nil {
		return nil, nil, storeError("classes", err)
	}
	r, err := readClasses(data)
	if err != nil {
		return nil, nil, storeError("classes", err)
	}
	return r.Applied, slices.Sorted(maps.Keys(r.Classes)), nil
}

// Migrate carries out a migration; the store must not be in use by a Runtime.
// First the objects of deleted classes are deleted, then everything else changes
// in one commit. It may be repeated after a crash at any moment.
func Migrate(s store.Store, m Migration) error {
	r, err := updateClasses(s, func(r *classRecords) error {
		if err := m.check(r); err != nil {
			return err
		}
		for _, name := range m.Delete {
			c := r.Classes[name]
			c.Deleting = true
			r.Classes[name] = c
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range m.Delete {
		if err := deleteObjects(s, r.Classes[name].Number); err != nil {
			return fmt.Errorf("durable: delete class %s: %w", name, err)
		}
	}
	_, err = updateClasses(s, func(r *classRecords) error {
		for _, name := range m.Delete {
			delete(r.Classes, name)
		}
		renamed := make(map[string]classRecord)
		for from, to := range m.Rename {
			renamed[to] = r.Classes[from]
			delete(r.Classes, from)
		}
		maps.Copy(r.Classes, renamed)
		for _, k := range m.Create {
			if k.UniqueKey == "" {
				k.UniqueKey = k.Name
			}
			r.enter(k.Name, k.UniqueKey)
		}
		r.Applied = m.Applied
		return nil
	})
	return err
}

func (m *Migration) check(r *classRecords) error {
	gone := make(map[string]bool)
	for _, name := range slices.Concat(m.Delete, slices.Collect(maps.Keys(m.Rename))) {
		if _, ok := r.Classes[name]; !ok {
			return fmt.Errorf("there is no class %s", name)
		}
		if gone[name] {
			return fmt.Errorf("class %s is both deleted and renamed, or deleted twice", name)
		}
		gone[name] = true
	}
	begins := slices.Collect(maps.Values(m.Rename))
	for _, k := range m.Create {
		begins = append(begins, k.Name)
	}
	slices.Sort(begins)
	for i, name := range begins {
		if _, ok := r.Classes[name]; (ok && !gone[name]) || (i > 0 && begins[i-1] == name) {
			return fmt.Errorf("class %s exists already", name)
		}
	}
	return nil
}

// deleteObjects deletes all objects of a namespace, a page at a time.
func deleteObjects(s store.Store, namespace uint32) error {
	for {
		var commits []store.Commit
		err := s.Objects(context.Background(), namespace, [32]byte{}, func(id [32]byte, h *store.Header) bool {
			commits = append(commits, s.Apply(&store.Batch{
				Object: store.Object{Namespace: namespace, ID: id}, Prev: h, DeleteAll: true,
			}))
			return len(commits) < 1000
		})
		for _, c := range commits {
			err = errors.Join(err, c.Wait())
		}
		if err != nil || len(commits) == 0 {
			return err
		}
	}
}
