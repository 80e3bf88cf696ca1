module github.com/respool/respool/internal/proof/mutants

go 1.25.0
