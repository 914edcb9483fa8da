//! Turning the original server's artefacts into a model folder.
