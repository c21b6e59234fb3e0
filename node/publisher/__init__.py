"""IPFS: content identifiers computed by us, the block store, the trustless gateway and verified download.

Content is UnixFS as ``ipfs add -r --cid-version=1 --raw-leaves`` makes it; what strangers send is checked.
"""
