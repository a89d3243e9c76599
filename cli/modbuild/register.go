package modbuild

import (
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

const (
	pyworkflowPath = "github.com/pyworkflow-go/pyworkflow"
	signature      = "func Register(app *pyworkflow.App) error"
)

// checkRegister reads a package's files and says in one line what the compiler would say in several about a file the person has
// never seen. What it can't judge from the text alone (aliases, variables, build tags, files that don't parse) it leaves to the compiler. native
// is for this machine, whatever GOOS says.
func checkRegister(name, dir string, native bool) error {
	files := build.Default
	if native {
		files.GOOS, files.GOARCH = runtime.GOOS, runtime.GOARCH
	}
	pkg, err := files.ImportDir(dir, 0)
	var none *build.NoGoError
	var several *build.MultiplePackageError
	switch {
	case errors.As(err, &none) && len(pkg.IgnoredGoFiles) == 0:
		return packageErrorf(name, "there are no Go files in %s: a workflows package exports %s", dir, signature)
	case errors.As(err, &several):
		return packageErrorf(name, "holds two packages, %s (%s) and %s (%s): keep one in a folder",
			several.Packages[0], several.Files[0], several.Packages[1], several.Files[1])
	case err != nil && pkg.Name == "", len(pkg.IgnoredGoFiles) > 0:
		return nil //nolint:nilerr // the compiler says it better, and knows about build tags
	}
	if len(pkg.GoFiles)+len(pkg.CgoFiles) == 0 {
		return packageErrorf(name, "there are only tests in %s: a workflows package exports %s", dir, signature)
	}
	if pkg.Name == "main" {
		return packageErrorf(name, "is a program (package main), which can't be built into another: "+
			"move Register to a package of its own, such as ./workflows")
	}
	fset := token.NewFileSet()
	lowercase := false
	for _, file := range append(pkg.GoFiles, pkg.CgoFiles...) {
		tree, err := parser.ParseFile(fset, filepath.Join(dir, file), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil //nolint:nilerr // the compiler says it better
		}
		for _, decl := range tree.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv == nil && decl.Name.Name == "Register" {
					return checkSignature(name, fset, tree, decl)
				}
				lowercase = lowercase || decl.Recv == nil && decl.Name.Name == "register"
			case *ast.GenDecl:
				if declares(decl, "Register") {
					return nil
				}
			}
		}
	}
	if lowercase {
		return packageErrorf(name, "its func register is not exported: rename it, to %s", signature)
	}
	return packageErrorf(name, "package %s has no Register: add %s", pkg.Name, signature)
}

func declares(decl *ast.GenDecl, name string) bool {
	for _, spec := range decl.Specs {
		if spec, ok := spec.(*ast.ValueSpec); ok {
			for _, ident := range spec.Names {
				if ident.Name == name {
					return true
				}
			}
		}
	}
	return false
}

func checkSignature(name string, fset *token.FileSet, file *ast.File, fn *ast.FuncDecl) error {
	if fn.Type.TypeParams == nil && takesApp(file, fn.Type.Params) && returnsError(fn.Type.Results) {
		return nil
	}
	at := fset.Position(fn.Pos())
	return packageErrorf(name, "Register in %s:%d has another signature: it must be %s", filepath.Base(at.Filename), at.Line, signature)
}

func takesApp(file *ast.File, params *ast.FieldList) bool {
	if params.NumFields() != 1 {
		return false
	}
	star, ok := params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	switch x := star.X.(type) {
	case *ast.Ident:
		return true // an alias, or a dot import
	case *ast.SelectorExpr:
		qualifier, ok := x.X.(*ast.Ident)
		return ok && x.Sel.Name == "App" && importedAs(file, qualifier.Name) == pyworkflowPath
	default:
		return false
	}
}

func returnsError(results *ast.FieldList) bool {
	if results.NumFields() != 1 {
		return false
	}
	ident, ok := results.List[0].Type.(*ast.Ident)
	return ok && ident.Name == "error"
}

// importedAs returns the import path behind a name in a file.
func importedAs(file *ast.File, name string) string {
	for _, spec := range file.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		local := importPath[strings.LastIndex(importPath, "/")+1:]
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == name {
			return importPath
		}
	}
	return ""
}
