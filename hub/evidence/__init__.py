"""Evidence packs: what happened to one record, in one file that anybody can check offline."""
