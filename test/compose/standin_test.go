//go:build compose && unix

package compose

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// proxyDir is where the Go stand-in holds the modules of go.mod, in the layout of a module proxy.
const proxyDir = "/modproxy"

// entry is a file or folder of a stand-in: where it lies in the image, and the host's file it is made from ("" for an empty folder).
type entry struct {
	name, host string
	mode       fs.FileMode
}

// goFiles is what building needs: Go, the modules, a shell with a few commands, and the certificates that the image takes over.
func goFiles(t *testing.T) []entry {
	files := []entry{{name: "/tmp", mode: fs.ModeDir | 0o777 | fs.ModeSticky}, {name: "/root", mode: fs.ModeDir | 0o700}}
	for _, tool := range []string{"sh", "cp", "mkdir", "chmod"} {
		files = append(files, program(t, tool, "/bin/"+tool)...)
	}
	const certs = "/etc/ssl/certs/ca-certificates.crt"
	host := certs
	if _, err := os.Stat(certs); err != nil {
		host = os.DevNull
	}
	files = append(files, entry{name: certs, host: host, mode: 0o644})

	goroot := goEnv(t, "GOROOT")
	files = append(files, tree(t, goroot, "/usr/local/go", func(path string, d fs.DirEntry) bool {
		top, _, _ := strings.Cut(path, "/")
		return !slices.Contains([]string{"api", "doc", "misc", "test"}, top) && d.Name() != "testdata" && !strings.HasSuffix(path, "_test.go")
	})...)

	// Of the machine's modules those that go.mod asks for, no others.
	cache := t.TempDir()
	download := exec.Command("go", "mod", "download")
	download.Dir = root
	download.Env = append(os.Environ(), "GOMODCACHE="+cache, "GOFLAGS=-modcacherw",
		"GOPROXY=file://"+filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")+","+goEnv(t, "GOPROXY"))
	if out, err := download.CombinedOutput(); err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	return append(files, tree(t, filepath.Join(cache, "cache", "download"), proxyDir, func(string, fs.DirEntry) bool { return true })...)
}

// redisFiles is a Redis without anything around it.
func redisFiles(t *testing.T) []entry {
	files := []entry{{name: "/tmp", mode: fs.ModeDir | 0o777 | fs.ModeSticky}, {name: "/data", mode: fs.ModeDir | 0o777}}
	server := os.Getenv("REDIS_SERVER")
	if server == "" {
		server = "redis-server"
	}
	files = append(files, program(t, server, "/bin/redis-server")...)
	return append(files, program(t, "redis-cli", "/bin/redis-cli")...)
}

// library matches the files that ldd names.
var library = regexp.MustCompile(`(?m)(?:=> |^\s+)(/\S+) \(0x`)

// program is an executable and the libraries it loads.
func program(t *testing.T, name, as string) []entry {
	t.Helper()
	host, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("the stand-in needs %s: %v (run `make deps`)", name, err)
	}
	files := []entry{{name: as, host: host, mode: 0o755}}
	out, err := exec.Command("ldd", host).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "not a dynamic executable") {
		t.Fatalf("ldd %s: %v\n%s", host, err, out)
	}
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		files = append(files, entry{name: m[1], host: m[1], mode: 0o755})
	}
	return files
}

// tree is a folder with all in it that keep keeps.
func tree(t *testing.T, host, as string, keep func(path string, d fs.DirEntry) bool) []entry {
	t.Helper()
	var files []entry
	err := filepath.WalkDir(host, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, path)
		if err != nil {
			return err
		}
		if rel != "." && !keep(filepath.ToSlash(rel), d) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		files = append(files, entry{name: as + "/" + filepath.ToSlash(rel), host: path, mode: info.Mode()})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// standIn makes an image of the files.
func (s *stack) standIn(t *testing.T, image string, files []entry, changes ...string) {
	t.Helper()
	began := time.Now()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	written := make(chan error, 1)
	go func() {
		err := writeTar(w, files)
		_ = w.Close()
		written <- err
	}()
	args := []string{"import", "--change", "ENV PATH=/usr/local/go/bin:/bin"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	_, err = s.try(stepTimeout, r, []string{"docker"}, append(args, "-", image)...)
	_ = r.Close() // frees the writer when the import ended early
	if werr := <-written; err == nil && werr != nil {
		err = werr
	}
	if err != nil {
		t.Fatalf("make stand-in %s: %v", image, err)
	}
	t.Logf("%5.1f s for stand-in %s", time.Since(began).Seconds(), image)
}

func writeTar(w io.Writer, files []entry) error {
	tw := tar.NewWriter(w)
	seen := map[string]bool{}
	for _, f := range files {
		if seen[f.name] {
			continue
		}
		seen[f.name] = true
		if err := writeEntry(tw, f); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, f entry) error {
	h := &tar.Header{Name: strings.TrimPrefix(f.name, "/"), Mode: int64(f.mode.Perm())}
	if f.mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	if f.mode.IsDir() {
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		return tw.WriteHeader(h)
	}
	data, err := os.ReadFile(f.host)
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = tw.Write(data)
	return err
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
