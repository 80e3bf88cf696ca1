package explore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// listed is a package as go list reports it.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Standard   bool
}

// Build writes a module to dir, in which the scenes and all that they import run under the
// scheduler, and builds it. root is the root of the repository. It returns the path of the program.
//
// The module has the import paths of the repository, a copy of the packages of other modules below
// third, and no requirements. So nothing of the repository is changed, and no rule about internal
// packages is in the way, as it would be if an overlay replaced files of another module.
func Build(ctx context.Context, root, dir string) (program string, err error) {
	packages, err := list(ctx, root)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+module+"\n\ngo 1.25.0\n"), 0o644); err != nil {
		return "", err
	}
	e := newEdits(patches, Bugs)
	number := 0
	for _, p := range packages {
		to := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(place(p.ImportPath), module+"/")))
		if err := os.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		for _, name := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return "", err
			}
			if !runtimePackage(p.ImportPath) {
				number++
				shown := path.Join(strings.TrimPrefix(p.ImportPath, module+"/"), name)
				if source, err = e.apply(shown, source); err != nil {
					return "", err
				}
				if source, err = rewrite(shown, source, number, place); err != nil {
					return "", fmt.Errorf("explore: %s: %w", shown, err)
				}
			}
			if err := os.WriteFile(filepath.Join(to, name), source, 0o644); err != nil {
				return "", err
			}
		}
	}
	if err := e.done(); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "scenes.exe")
	// Without -trimpath the build would depend on dir, and nothing of an earlier one could be used again.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./"+self+"/scenes")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("explore: go build of the rewritten scenes: %w\n%s", err, out)
	}
	return program, nil
}

// place returns the import path that a package has in the module that is generated.
func place(importPath string) string {
	if importPath == module || strings.HasPrefix(importPath, module+"/") {
		return importPath
	}
	return module + "/third/" + importPath
}

// runtimePackage reports whether a package is part of the scheduler, and so is not rewritten.
func runtimePackage(importPath string) bool {
	in := func(dir string) bool { return strings.HasPrefix(importPath, module+"/"+self+"/"+dir) }
	return in("sched") || in("sim/")
}

// list returns the packages of the scenes, and all that they import except the standard library.
func list(ctx context.Context, root string) (all []listed, err error) {
	scenes := "./" + self + "/scenes"
	args := []string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,Standard", scenes}
	for _, to := range replaced { // what rewritten packages import, but the scenes as they are do not
		args = append(args, "./"+strings.TrimPrefix(to, module+"/"))
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("explore: go list: %w\n%s", err, stderr.Bytes())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("explore: go list: %w", err)
		case !p.Standard:
			all = append(all, p)
		}
	}
}
