package calendar

import (
	"cmp"
	"container/list"
	"maps"
	"slices"
	"strings"
	"sync"
)

// image is one version of a calendar's copy as it is held in memory. It is never changed.
type image struct {
	version uint64
	note    copyNote
	objects map[string]*object // by href
	ids     map[string]*object // by event id
	order   []*object          // those with events, by their first instant
	size    int64
	dead    int64 // bytes in the stored copy that count no more
}

func newImage(version uint64, note copyNote, objects map[string]*object, dead int64) *image {
	img := &image{version: version, note: note, objects: objects, dead: dead, ids: make(map[string]*object, len(objects))}
	for _, o := range objects {
		img.ids[o.id] = o
		img.size += o.size()
		if o.Event {
			img.order = append(img.order, o)
		}
	}
	slices.SortFunc(img.order, func(a, b *object) int {
		return cmp.Or(cmp.Compare(a.First, b.First), strings.Compare(a.Href, b.Href))
	})
	return img
}

// with returns an image in which some objects are other ones, or gone.
func (img *image) with(version uint64, note copyNote, changed []*object) *image {
	objects := make(map[string]*object)
	dead := int64(0)
	if img != nil {
		maps.Copy(objects, img.objects)
		dead = img.dead
	}
	for _, o := range changed {
		if old := objects[o.Href]; old != nil {
			dead += old.size()
		}
		if o.Gone {
			delete(objects, o.Href)
		} else {
			objects[o.Href] = o
		}
	}
	return newImage(version, note, objects, dead)
}

// images holds the images last used, up to a limit of bytes. They save reading and
// decoding; whether one is current is for CalendarCache to say.
type images struct {
	limit int64

	mu    sync.Mutex
	byKey map[imageKey]*list.Element // of *imageEntry; guarded by mu
	used  list.List                  // the last used first; guarded by mu
	size  int64                      // guarded by mu
}

type imageKey struct{ user, href string }

type imageEntry struct {
	key imageKey
	img *image
}

func (m *images) get(key imageKey) *image {
	m.mu.Lock()
	defer m.mu.Unlock()
	el := m.byKey[key]
	if el == nil {
		return nil
	}
	m.used.MoveToFront(el)
	return el.Value.(*imageEntry).img
}

func (m *images) put(key imageKey, img *image) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(m.byKey[key])
	if m.byKey == nil {
		m.byKey = make(map[imageKey]*list.Element)
	}
	m.byKey[key] = m.used.PushFront(&imageEntry{key, img})
	m.size += img.size
	for m.size > m.limit && m.used.Len() > 1 {
		m.removeLocked(m.used.Back())
	}
}

func (m *images) forget(user string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, el := range m.byKey {
		if key.user == user {
			m.removeLocked(el)
		}
	}
}

func (m *images) removeLocked(el *list.Element) {
	if el == nil {
		return
	}
	entry := m.used.Remove(el).(*imageEntry)
	delete(m.byKey, entry.key)
	m.size -= entry.img.size
}
