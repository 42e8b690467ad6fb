"""The embedded registry over HTTP: a directory, spoken to as official Kaggle clients do.

`app` puts the parts together; only this package imports aiohttp. `rpc` and `rest` are the two
protocols, `operations` what both of them ask for, `uploads` and `storage` where the bytes go.
"""
