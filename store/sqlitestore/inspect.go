package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/store"
)

// lowSpace is how much room a disk ought to have left, in bytes.
const lowSpace = 256 << 20

// Inspect looks at the folder, its disk, the file's format, and who else has the file. Records have no formats of their own: the file has one, and a newer file
// is not opened at all, so records is not used.
func (s *Store) Inspect(ctx context.Context, _ int) ([]store.Finding, error) {
	if err := s.usable(ctx); err != nil {
		return nil, wrap(err, "inspect", "store", s.Describe())
	}
	var list []store.Finding
	if !s.cfg.Memory {
		list = append(list, s.inspectFolder(), inspectDisk(s.cfg.Dir))
	}
	version, processes, err := s.inspectFile(ctx)
	if err != nil {
		return nil, wrap(err, "inspect", "store", s.Describe())
	}
	return append(list, version, processes), nil
}

func ok(check, format string, args ...any) store.Finding {
	return store.Finding{Check: check, Status: store.FindingOK, Message: fmt.Sprintf(format, args...)}
}

// InspectMissing looks at the place of a database that nobody has created, and creates nothing.
func InspectMissing(dir string) []store.Finding {
	there := filepath.Clean(dir)
	for {
		if _, err := os.Stat(there); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		above := filepath.Dir(there)
		if above == there {
			break
		}
		there = above
	}
	f := probe(there, dir)
	if f.Status == store.FindingOK {
		f.Message = fmt.Sprintf("there is no database in %s yet; the first command that writes creates it", dir)
	}
	return []store.Finding{f, inspectDisk(there)}
}

const folderRemedy = "make the folder and the file writable for the user that runs this, or choose another folder (--storage-path)"

// probe finds out whether files can be put into a folder, which people know as dir.
func probe(folder, dir string) store.Finding {
	f := store.Finding{Check: "folder", Status: store.FindingError, Remedy: folderRemedy}
	file, err := os.CreateTemp(folder, ".pyworkflow-probe-*")
	if err != nil {
		f.Message = fmt.Sprintf("nothing can be written in folder %s: %v", dir, bare(err))
		return f
	}
	_ = file.Close()
	if err := os.Remove(file.Name()); err != nil {
		f.Message = fmt.Sprintf("nothing can be removed in folder %s: %v", dir, bare(err))
		return f
	}
	return ok("folder", "%s can be written", dir)
}

// inspectFolder finds out whether the file can be written, and whether files can be put beside it, which SQLite does while it is open.
func (s *Store) inspectFolder() store.Finding {
	file, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return store.Finding{Check: "folder", Status: store.FindingError, Message: fmt.Sprintf("%s cannot be written: %v", s.path, bare(err)), Remedy: folderRemedy}
	}
	return probe(s.cfg.Dir, s.cfg.Dir)
}

// inspectDisk looks at the file system that the folder lies on.
func inspectDisk(dir string) store.Finding {
	d, err := diskOf(dir)
	return diskFinding(dir, d, err)
}

func diskFinding(dir string, disk disk, err error) store.Finding {
	switch {
	case err != nil:
		return store.Finding{Check: "disk", Status: store.FindingSkipped, Message: fmt.Sprintf("the disk of %s tells nothing: %v", dir, bare(err)), Remedy: "make sure that it has room, and is a disk of this host"}
	case disk.network:
		return store.Finding{Check: "disk", Status: store.FindingWarning, Message: fmt.Sprintf("%s lies on a network file system: SQLite's locks do not hold between hosts", dir),
			Remedy: "choose a folder on a disk of this host (--storage-path), or use Redis for several hosts"}
	case disk.free < lowSpace:
		return store.Finding{Check: "disk", Status: store.FindingWarning, Message: fmt.Sprintf("%d MiB are free on the disk of %s: once it is full nothing is started or recorded", disk.free>>20, dir),
			Remedy: fmt.Sprintf("free some space; %d MiB ought to be left", lowSpace>>20)}
	default:
		return ok("disk", "%d MiB free on the disk of %s", disk.free>>20, dir)
	}
}

// disk is what a file system tells of itself.
type disk struct {
	free    uint64 // bytes that this user may still use
	network bool
}

// inspectFile reads the file's format and the live processes.
func (s *Store) inspectFile(ctx context.Context) (version, processes store.Finding, err error) {
	err = s.view(ctx, func(c *conn) error {
		v, err := c.version()
		if err != nil {
			return err
		}
		version = ok("records", "format %d of the file; this program reads up to %d", v, reads)
		var id string
		var hosts []string
		n := 0
		err = c.each([]any{&id}, func() (bool, error) {
			n++
			host, _, _ := strings.Cut(id, ":")
			if !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
			return true, nil
		}, `SELECT id FROM processes WHERE ns = ? AND until > ? ORDER BY id LIMIT 1000`, s.ns, s.Estimate().UnixMilli())
		if err != nil {
			return err
		}
		processes = ok("processes", "live workers and beats on this file: %d", n)
		if len(hosts) > 1 {
			processes.Status = store.FindingWarning
			processes.Message = fmt.Sprintf("processes on %d hosts use this file (%s): that is safe only for containers of one machine", len(hosts), strings.Join(hosts[:min(len(hosts), 5)], ", "))
			processes.Remedy = "use Redis for several hosts (--redis-url)"
		}
		return nil
	})
	return version, processes, err
}

// bare is an error of the file system without the path, which its message names already.
func bare(err error) error {
	if path, is := errors.AsType[*fs.PathError](err); is {
		return path.Err
	}
	return err
}
