"""An fsspec file system: `modelfs://owner/model/framework/instance/version/file`."""
